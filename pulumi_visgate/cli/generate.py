"""`visgate generate "a red fox"`: one picture, from any gateway, to disk."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pulumi_visgate.cli.console import err, out
from pulumi_visgate.cli.errors import JobFailedError, UsageError
from pulumi_visgate.cli.gateway import Gateway
from pulumi_visgate.cli.target import Target
from visgate_contract.events import Artifact, Event, Status

_WORDS = {
    Status.PROVISIONING: "waiting for a worker",
    Status.STARTED: "worker started",
    Status.PROGRESS: "generating",
    Status.READY: "ready",
    Status.FAILED: "failed",
}
_STEM_LENGTH = 48


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.", show_default=False)],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; named after the prompt if left out.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub id of the model; the local cloud has a default.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture.")] = None,
    gateway: Annotated[
        str | None, typer.Option(help="URL; else VISGATE_GATEWAY_URL, else the gateway on this machine.")
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Receives the job's signed events.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the picture.", min=1)] = 900,
) -> None:
    """Generate a picture: progress while it is made, then the file, and its CDN link on standard output.

    The Runpod API key is read from RUNPOD_API_KEY.
    """
    target = Target.find(gateway, os.environ, Path.cwd())
    model_id = model or target.model_id
    if model_id is None:
        detail = "No model is given."
        raise UsageError(detail, hint="Name one with --model, such as --model stabilityai/sdxl-turbo.")
    if output is not None and not output.absolute().parent.is_dir():
        detail = f"The folder of {output} does not exist."
        raise UsageError(detail, hint="Make it, or choose another file with -o.")
    wished = {"prompt": prompt, "width": width, "height": height, "steps": steps, "seed": seed}
    body: dict[str, Any] = {
        "model": model_id,
        "task": "text2img",
        "input": {name: value for name, value in wished.items() if value is not None},
    }
    if webhook_url is not None:
        body["webhook_url"] = webhook_url
    with Gateway(target) as client:
        accepted = client.submit(body)
        err().print(f"{accepted.status} {accepted.job_id}", style="dim")
        ready = show(client.events(accepted.job_id, timeout_s=timeout))
        for artifact, file in zip(ready.data.artifacts, files(output, prompt, ready.data.artifacts), strict=True):
            client.download(artifact, file)
            err().print(f"saved {file} ({artifact.width} x {artifact.height}, seed {artifact.seed})")
            out().print(artifact.url)


def show(events: Iterable[Event]) -> Event:
    """Draw a progress bar from events and return the `ready` one.

    Args:
        events: Of one job, up to its terminal one.

    Raises:
        JobFailedError: The job failed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"), TimeElapsedColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(_WORDS[Status.PROVISIONING], total=None, steps="")
        for event in events:
            data = event.data
            if not console.is_terminal:
                console.print(_plain(event))
            if data.progress is not None:
                steps = f"{data.progress.step}/{data.progress.steps}"
                bar.update(line, completed=data.progress.step, total=data.progress.steps, steps=steps)
            bar.update(line, description=_WORDS[data.status])
            if data.status is Status.READY:
                return event
            if data.status is Status.FAILED:
                reason = data.error
                raise JobFailedError(
                    reason.detail if reason else "The job failed without a reason.",
                    hint=reason.hint if reason else "",
                    code=reason.code if reason else None,
                )
    detail = "The events ended before the job did."
    raise JobFailedError(detail)


def files(output: Path | None, prompt: str, artifacts: tuple[Artifact, ...]) -> list[Path]:
    """Return the file of each artifact: the one asked for, or one named after the prompt; numbered if there are more.

    Args:
        output: File from the command line.
        prompt: What was drawn.
        artifacts: What was delivered.
    """
    named = []
    for number, artifact in enumerate(artifacts):
        suffix = "." + artifact.content_type.rpartition("/")[2].replace("jpeg", "jpg")
        file = output or Path(file_stem(prompt) + suffix)
        named.append(file if number == 0 else file.with_stem(f"{file.stem}-{number + 1}"))
    return named


def file_stem(prompt: str) -> str:
    """Return a file name for a prompt, without its extension: `visgate-` and the first words."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_STEM_LENGTH].strip("-")
    return f"visgate-{words or 'picture'}"


def _plain(event: Event) -> str:
    progress = event.data.progress
    return f"{event.data.status}" + (f" {progress.step}/{progress.steps}" if progress else "")
