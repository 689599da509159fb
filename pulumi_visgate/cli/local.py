"""`visgate local up|down|status|logs|env`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.cli.options import AsJson

if TYPE_CHECKING:
    from pulumi_visgate.local.cloud import DownReport
    from pulumi_visgate.local.home import Home

EXIT_NOT_RUNNING = 3

app = typer.Typer(help="The laptop's cloud: Runpod emulator, S3 server, CDN route, service host.", no_args_is_help=True)

_STYLES = {"running": "green", "not answering": "yellow", "stopped": "red"}
_KIB = 1024


@app.command()
def up() -> None:
    """Start the local cloud; when it is up already, say where it is."""
    from pulumi_visgate.local import cloud  # noqa: PLC0415 - needs the [local] extra

    home = _home()
    console = err()
    report = cloud.up(home, environ=os.environ, say=lambda line: console.print(f"  {line}"))
    if not report.started:
        console.print("The local cloud is up already; nothing to do.", style="bold")
    elif report.repaired:
        console.print(f"The local cloud is up; repaired: {', '.join(report.repaired)}.", style="bold")
    else:
        console.print("The local cloud is up.", style="bold")
    if report.moved:
        again = "Their ports were taken, so these have new ones; `pulumi up -s local --refresh` tells the stack: "
        console.print(again + ", ".join(report.moved))
    _print_status(home)
    for part in cloud.status(home):
        if not part.healthy:
            console.print(f"  {part.name} is {part.state}: `{part.remedy}` starts it.")
    console.print('  eval "$(visgate local env)" points this shell at it.')


@app.command()
def down(
    *, purge: Annotated[bool, typer.Option("--purge", help="Delete its data too: account, buckets, state.")] = False
) -> None:
    """End every process of the local cloud, and say what data stays."""
    from pulumi_visgate.local import cloud  # noqa: PLC0415 - needs the [local] extra

    home = _home()
    say_what_is_down(cloud.down(home, purge=purge))


def say_what_is_down(report: "DownReport") -> None:
    """Print what `down` has done.

    Args:
        report: Of `cloud.down`.
    """
    console = err()
    if report.stopped or report.swept:
        console.print(f"Ended: {', '.join((*report.stopped, *report.swept))}. No process is left.", style="bold")
    else:
        console.print("The local cloud was not running.", style="bold")
    for kept in report.kept:
        console.print(f"  kept: {kept.what} ({_size(kept.size_bytes)}) in {kept.path}")
    if report.kept:
        console.print("  `visgate local down --purge` deletes all of it.")


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show each process; exit status 3 when one is not running."""
    from pulumi_visgate.local import cloud  # noqa: PLC0415 - needs the [local] extra

    home = _home()
    parts = cloud.status(home)
    if as_json:
        out().print_json(data=[{"name": p.name, "state": p.state, "url": p.url, "pid": p.pid} for p in parts])
    else:
        _print_status(home)
    if not parts or not all(part.healthy for part in parts):
        raise typer.Exit(EXIT_NOT_RUNNING)


@app.command()
def logs(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which, by any part of their names, such as emulator or gateway; all if left out."),
    ] = None,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
) -> None:
    """Print the logs of the local cloud."""
    from pulumi_visgate.local import logs as reader  # noqa: PLC0415 - late, as all of the local cloud

    home = _home()
    files = {file.stem: file for file in sorted(home.logs.glob("*.log"))}
    for name in names or ():
        if not any(name in known for known in files):
            raise typer.BadParameter(f"there is no log {name!r}; there are: {', '.join(files) or 'none yet'}")  # noqa: EM102 - shown as usage
    chosen = {name: file for name, file in files.items() if not names or any(wanted in name for wanted in names)}
    mask, console = redactor(), out()
    width = max(map(len, chosen), default=0)

    def show(name: str, line: str) -> None:
        prefix = Text(f"{name:<{width}} | ", style="dim") if len(chosen) > 1 else Text()
        console.print(prefix + Text(mask.text(line)))

    for name, file in chosen.items():
        for line in reader.tail(file, lines=lines):
            show(name, line)
    if follow:
        for name, line in reader.follow(chosen):
            show(name, line)


@app.command()
def env() -> None:
    """Print shell exports that point Pulumi and `visgate` at the local cloud: eval "$(visgate local env)"."""
    from pulumi_visgate.local.environment import cloud_environment, shell_exports  # noqa: PLC0415 - late, as above
    from pulumi_visgate.local.state import CloudState  # noqa: PLC0415
    from pulumi_visgate.local.toolchain import search_path  # noqa: PLC0415

    home = _home()
    state = CloudState.running(home)
    path = search_path(os.environ)
    typer.echo(shell_exports(cloud_environment(home, state, path=path, environ=os.environ)), nl=False)


def _home() -> "Home":
    from pulumi_visgate.local.home import Home  # noqa: PLC0415 - late, as all of the local cloud

    return Home.find(os.environ, Path.cwd())


def _print_status(home: "Home") -> None:
    from pulumi_visgate.local import cloud  # noqa: PLC0415 - needs the [local] extra

    parts = cloud.status(home)
    if not parts:
        err().print("The local cloud has never been started here; `visgate local up` starts it.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("part", "state", "pid", "url"):
        table.add_column(column, no_wrap=True)
    table.add_column("log", overflow="fold")
    for part in parts:
        pid = str(part.pid) if part.pid else "-"
        table.add_row(part.name, Text(part.state, style=_STYLES[part.state]), pid, part.url, str(part.log))
    out().print(table)


def _size(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}"
        value /= _KIB
    return f"{value:.1f} GiB"
