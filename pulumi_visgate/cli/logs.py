"""`visgate logs`: the log of a job's worker or of an endpoint, as it is written."""

import contextlib
from typing import Annotated

import typer
from rich.text import Text

from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.cli.options import GatewayUrl, connect

QUIET_S = 3.0
_JOB = "job_"


def logs(
    name: Annotated[
        str,
        typer.Argument(metavar="JOB|ENDPOINT", help="Id of a job, or of one of your endpoints.", show_default=False),
    ],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as lines are written: to the job's end, or until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
    gateway: GatewayUrl = None,
) -> None:
    """Print the log of the worker that runs a job, or of all workers of an endpoint, secrets masked.

    Without --follow it ends when nothing has come for three seconds.
    """
    mask, console, workers = redactor(), out(), dict[str, int]()
    quiet_s = None if follow else QUIET_S
    with connect(gateway) as client:
        lines = (
            client.logs(name, quiet_s=quiet_s) if name.startswith(_JOB) else client.endpoint_logs(name, quiet_s=quiet_s)
        )
        with contextlib.closing(lines) as found:
            for line in found:
                if line.lost:
                    err().print(f"{line.lost} lines were forgotten before they could be sent", style="dim")
                if as_json:
                    typer.echo(mask.text(line.model_dump_json(exclude_defaults=True)))
                    continue
                workers.setdefault(line.worker_id, len(workers))
                prefix = Text(f"{line.worker_id} | ", style="dim") if len(workers) > 1 else Text()
                console.print(prefix + Text(mask.text(line.line)))
