"""A job on the screen: what it waits for, how far it is, and its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.client import Client, Event, Result, Status, Update, Waiting
from visgate_contract.events import Artifact, LoadProgress

_WORDS = {
    Status.PROVISIONING: "waiting for a worker",
    Status.STARTED: "worker started",
    Status.PROGRESS: "generating",
    Status.READY: "ready",
    Status.FAILED: "failed",
}
_GB = 1e9


def follow(client: Client, job_id: str, *, timeout_s: float) -> Result:
    """Draw a progress bar until a job has ended, and return what it made; plain lines where there is no screen.

    Args:
        client: Of the gateway.
        job_id: The job.
        timeout_s: Longest time to wait, in seconds.

    Raises:
        JobFailedError: The job failed.
        VisgateError: It cannot be followed, or takes too long.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(_WORDS[Status.PROVISIONING], total=None, count="")

        def show(update: Update) -> None:
            if not console.is_terminal:
                console.print(redactor().text(told(update)))
            elif isinstance(update, Waiting):
                bar.update(line, description=update.detail.rstrip("."), count=_ahead(update))
            else:
                bar.update(line, **_state(update))

        return client.wait(job_id, on_update=show, timeout_s=timeout_s)


def told(update: Update) -> str:
    """Return an update as one line of text."""
    if isinstance(update, Waiting):
        return " ".join(filter(None, (f"waiting ({update.reason}): {update.detail}", _ahead(update))))
    data = update.data
    count = f"{data.progress.step}/{data.progress.steps}" if data.progress else _bytes(data.loading)
    return " ".join(filter(None, (str(data.status), count)))


def save(client: Client, result: Result, names: Sequence[Path], *, open_them: bool = False) -> list[dict[str, Any]]:
    """Download what a job made, say so, and return each file with its link and facts.

    Args:
        client: Of the gateway.
        result: What the job made.
        names: A file for each artifact.
        open_them: Show each with the program that this machine has for it.

    Raises:
        GatewayError: One cannot be had.
    """
    saved = []
    for artifact, file in zip(result.artifacts, names, strict=True):
        client.download(artifact, file)
        err().print(f"saved {file} ({artifact.width} x {artifact.height}, seed {artifact.seed})")
        saved.append({"file": str(file), **artifact.model_dump(mode="json", exclude_none=True)})
        if open_them and typer.launch(str(file)):
            err().print(f"{file} cannot be opened here: no program for it was found.")
    return saved


def print_result(result: Result, saved: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the links of what a job made, or all that is known of it as JSON."""
    if as_json:
        known = result.model_dump(mode="json", exclude_none=True)
        out().print_json(data={**known, "artifacts": list(saved)})
        return
    for artifact in result.artifacts:
        out().print(artifact.url)


def numbered(output: Path | None, stem: str, artifacts: Sequence[Artifact]) -> list[Path]:
    """Return the file of each artifact: the one asked for, or one of a stem; numbered if there are more.

    Args:
        output: File from the command line.
        stem: Name without its extension, where no file was asked for.
        artifacts: What was delivered.
    """
    named = []
    for number, artifact in enumerate(artifacts):
        suffix = "." + artifact.content_type.rpartition("/")[2].replace("jpeg", "jpg")
        file = output or Path(stem + suffix)
        named.append(file if number == 0 else file.with_stem(f"{file.stem}-{number + 1}"))
    return named


def _state(event: Event) -> dict[str, Any]:
    data = event.data
    if data.progress is not None:
        steps = data.progress
        shown = {"completed": steps.step, "total": steps.steps, "count": f"{steps.step}/{steps.steps}"}
        return {"description": _WORDS[data.status], **shown}
    if data.loading is not None:
        done, total = data.loading.done_bytes, data.loading.total_bytes
        return {"description": "loading the model", "completed": done, "total": total, "count": _bytes(data.loading)}
    return {"description": _WORDS[data.status], "count": ""}


def _bytes(loading: LoadProgress | None) -> str:
    if loading is None:
        return ""
    total = "" if loading.total_bytes is None else f" of {loading.total_bytes / _GB:.1f}"
    return f"loading {loading.done_bytes / _GB:.1f}{total} GB"


def _ahead(waiting: Waiting) -> str:
    words = []
    if waiting.queue_position:
        words.append(f"{waiting.queue_position} before it")
    if waiting.estimated_s is not None:
        words.append(f"about {waiting.estimated_s:.0f} s")
    return ", ".join(words)
