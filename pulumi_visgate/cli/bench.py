"""`visgate bench worker`: what a worker needs for each phase of a job, cold and warm, from any gateway."""

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.table import Table

from pulumi_visgate.cli.console import err, out
from pulumi_visgate.cli.options import AsJson, GatewayUrl, ModelOption, client_of
from pulumi_visgate.cli.target import Target
from pulumi_visgate.client import Client, Event, Update
from pulumi_visgate.client.errors import UsageError
from visgate_contract.events import EventData
from visgate_contract.tasks import Task

app = typer.Typer(help="Measure what the platform does.", no_args_is_help=True)

# As they follow one another; `total` ends where the worker's part does, `answered` where the caller has the link.
PHASES = (
    "interpreter_s",
    "sdk_import_s",
    "framework_import_s",
    "find_s",
    "load_s",
    "improve_s",
    "input_s",
    "wait_s",
    "generate_s",
    "step_s",
    "check_s",
    "encode_s",
    "upload_s",
    "ttft_s",
    "total_s",
)
ANSWERED = "answered_s"


@dataclass(frozen=True, slots=True)
class Run:
    """One job that was measured.

    Args:
        ended: What its last event says.
        answered_s: Seconds from the request until the caller knew of the link.
    """

    ended: EventData
    answered_s: float

    def seconds(self) -> dict[str, float]:
        """Return the phases that there were."""
        timings = self.ended.timings
        known = timings.model_dump(include=set(PHASES), exclude_none=True) if timings else {}
        return {name: value for name, value in known.items() if value} | {ANSWERED: self.answered_s}


@app.command()
def worker(
    *,
    model: ModelOption = None,
    task: Annotated[Task, typer.Option(help="`text2img` or `text2video`.")] = Task.TEXT2IMG,
    prompt: Annotated[str, typer.Option(help="What to draw.")] = "a red fox",
    width: Annotated[int | None, typer.Option(help="Pixels; the model's own if left out.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the model's own if left out.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own if left out.")] = None,
    jobs: Annotated[int, typer.Option(help="Jobs, one after the other.", min=1, max=100)] = 5,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each job.", min=1)] = 1800,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """Draw some pictures and report each phase: of the first job, which may start a worker, and of those after it.

    It costs what the jobs cost. The Runpod API key is read from RUNPOD_API_KEY.
    """
    target = Target.find(gateway, os.environ, Path.cwd())
    model_id = model or target.model_id
    if model_id is None:
        detail = "No model is given."
        raise UsageError(detail, hint="Name one with --model, such as --model stabilityai/sdxl-turbo.")
    if task not in {Task.TEXT2IMG, Task.TEXT2VIDEO}:
        detail = f"--task {task} begins from a picture."
        raise UsageError(detail, hint="Measure text2img or text2video.")
    wished = {"prompt": prompt, "width": width, "height": height, "steps": steps}
    given = {name: value for name, value in wished.items() if value is not None}
    runs: list[Run] = []
    with client_of(target) as client:
        for number in range(jobs):
            runs.append(_run(client, model_id, task, {**given, "seed": number}, timeout_s=timeout))
            err().print(f"job {number + 1} of {jobs}: {runs[-1].answered_s:.2f} s", style="dim")
    found = report(runs)
    if as_json:
        out().print_json(json.dumps(found))
    else:
        out().print(table(found))


def report(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what was measured: `about` the worker, and `phases` in seconds.

    Args:
        runs: The jobs, the first one first; at least one.
    """
    first, *rest = runs
    phases: dict[str, dict[str, float]] = {}
    for name in (*PHASES, ANSWERED):
        later = [value for run in rest if (value := run.seconds().get(name)) is not None]
        figures = {
            "first": first.seconds().get(name),
            "median": statistics.median(later) if later else None,
            "slowest": max(later, default=None),
        }
        if told := {column: round(value, 4) for column, value in figures.items() if value is not None}:
            phases[name.removesuffix("_s")] = told
    return {"about": dict(_about(runs)), "jobs": len(runs), "phases": phases}


def _about(runs: Sequence[Run]) -> Iterator[tuple[str, Any]]:
    first, last = runs[0].ended, runs[-1].ended
    yield "model", last.model_id
    if runtime := last.runtime:
        yield from (("family", runtime.family), ("device", runtime.device), ("runtime", runtime.name))
        if runtime.fallbacks:
            yield "fallbacks", [f"{one.runtime}: {one.reason}" for one in runtime.fallbacks]
    peaks = [run.ended.runtime.peak_memory_bytes for run in runs if run.ended.runtime]
    if known := [one for one in peaks if one is not None]:
        yield "peak_memory_bytes", max(known)
    if load := first.load:
        yield from (("source", load.source), ("size_bytes", load.size_bytes))
        if load.seconds:
            yield "load_bytes_per_s", round(load.size_bytes / load.seconds)
        if load.fetched_bytes:
            yield from (("fetched_bytes", load.fetched_bytes), ("fetch_s", load.fetch_s))


def table(found: dict[str, Any]) -> Table:
    """Return a report as a table.

    Args:
        found: What `report` returned.
    """
    about: dict[str, Any] = found["about"]
    title = " · ".join(str(about[name]) for name in ("model", "family", "device", "runtime") if name in about)
    drawn = Table(title=title, title_justify="left", caption=_caption(about), caption_justify="left")
    drawn.add_column("phase")
    for column in ("first", "median", "slowest"):
        drawn.add_column(f"{column}, s", justify="right")
    for name, figures in found["phases"].items():
        cells = (figures.get(column) for column in ("first", "median", "slowest"))
        drawn.add_row(name, *("" if cell is None else f"{cell:.3f}" for cell in cells))
    return drawn


def _caption(about: dict[str, Any]) -> str:
    said = []
    if "source" in about:
        rate = f" at {about['load_bytes_per_s'] / 1e6:,.0f} MB/s" if "load_bytes_per_s" in about else ""
        said.append(f"model: {about['size_bytes'] / 1e6:,.0f} MB from {about['source']}{rate}")
    if "peak_memory_bytes" in about:
        said.append(f"peak memory: {about['peak_memory_bytes'] / 1e9:.2f} GB")
    return "\n".join([*said, *(f"not used: {one}" for one in about.get("fallbacks", ()))])


def _run(client: Client, model: str, task: Task, given: dict[str, Any], *, timeout_s: float) -> Run:
    began = monotonic()
    accepted = client.submit(model, given, task=task)
    told: list[EventData] = []

    def note(update: Update) -> None:
        if isinstance(update, Event):
            told.append(update.data)

    client.wait(accepted.job_id, on_update=note, timeout_s=timeout_s)
    return Run(told[-1], monotonic() - began)
