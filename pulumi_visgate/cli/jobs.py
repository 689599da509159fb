"""`visgate jobs`: show, wait for, cancel and retry one, by its id; Runpod lists no jobs, and nobody else knows them."""

from pathlib import Path
from typing import Annotated

import typer

from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.cli.options import AsJson, GatewayUrl, JobId, connect
from pulumi_visgate.cli.progress import follow, numbered, print_result, save
from pulumi_visgate.client import Job, Status

_STEM = "visgate-"
_TASK_CHARACTERS = 8

app = typer.Typer(help="Jobs by their ids: show, wait, cancel, retry. Runpod lists no jobs.", no_args_is_help=True)


@app.command()
def show(job_id: JobId, *, as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """Show where a job stands, and why it waits or failed."""
    with connect(gateway) as client:
        _print(client.job(job_id), as_json=as_json)


@app.command()
def wait(
    job_id: JobId,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; named after the job if left out.")
    ] = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Show the file with the program that this machine has.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the result.", min=1)] = 900,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """Wait for a job and save what it makes; the job goes on when you stop waiting."""
    with connect(gateway) as client:
        result = follow(client, job_id, timeout_s=timeout)
        stem = _STEM + (result.task_id or job_id)[-_TASK_CHARACTERS:]
        saved = save(client, result, numbered(output, stem, result.artifacts), open_them=opened)
        print_result(result, saved, as_json=as_json)


@app.command()
def cancel(job_id: JobId, *, as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """Take a job out of the queue, or stop it; one that has ended stays as it is."""
    with connect(gateway) as client:
        _print(client.cancel(job_id), as_json=as_json)


@app.command()
def retry(job_id: JobId, *, as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """Queue a job again that has failed or ran out of time, under its id and with its input."""
    with connect(gateway) as client:
        _print(client.retry(job_id), as_json=as_json)


def _print(job: Job, *, as_json: bool) -> None:
    mask = redactor()
    if as_json:
        out().print_json(mask.text(job.model_dump_json(exclude_none=True)))
        return
    step = f" {job.progress.step}/{job.progress.steps}" if job.progress and not job.status.is_terminal else ""
    out().print(f"{job.status}{step} ({job.runpod_status} on endpoint {job.endpoint_id})")
    for artifact in job.artifacts:
        out().print(artifact.url)
    said = job.waiting or job.error
    if said is not None:
        err().print(mask.text(said.detail))
        if said.hint:
            err().print(mask.text(f"  → {said.hint}"))
        for line in said.log_tail:
            err().print(mask.text(f"  | {line}"), style="dim")
    if job.status is Status.READY and job.delay_ms is not None and job.execution_ms is not None:
        waited, ran = job.delay_ms / 1000, job.execution_ms / 1000
        err().print(f"waited {waited:.1f} s, ran {ran:.1f} s", style="dim")
