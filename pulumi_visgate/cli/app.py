"""The `visgate` command.

Commands import what they need when they run, so that `visgate generate` needs neither the `[local]` extra nor Pulumi.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pulumi_visgate.cli.bench import app as bench
from pulumi_visgate.cli.cleanup import cleanup
from pulumi_visgate.cli.console import complain
from pulumi_visgate.cli.cost import cost
from pulumi_visgate.cli.diff import diff
from pulumi_visgate.cli.e2e import e2e
from pulumi_visgate.cli.generate import generate
from pulumi_visgate.cli.import_ import import_
from pulumi_visgate.cli.jobs import app as jobs
from pulumi_visgate.cli.local import app as local
from pulumi_visgate.cli.logs import logs
from pulumi_visgate.cli.platform import deploy, deployments, models, placements, preflight
from pulumi_visgate.errors import VisgateError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="visgate",
    help="Your own image and video inference platform on Runpod GPUs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PICTURES, PLATFORM, STACKS, MACHINE = "Pictures and jobs", "The platform", "Stacks", "This machine"

app.command(rich_help_panel=PICTURES)(generate)
app.add_typer(jobs, name="jobs", rich_help_panel=PICTURES)
app.command(rich_help_panel=PICTURES)(logs)
app.command(rich_help_panel=PLATFORM)(models)
app.command(rich_help_panel=PLATFORM)(preflight)
app.command(rich_help_panel=PLATFORM)(placements)
app.command(rich_help_panel=PLATFORM)(deploy)
app.command(rich_help_panel=PLATFORM)(deployments)
app.command(rich_help_panel=PLATFORM)(cost)
app.command(rich_help_panel=PLATFORM)(cleanup)
app.add_typer(bench, name="bench", rich_help_panel=PLATFORM)
app.command(rich_help_panel=STACKS)(diff)
app.command(rich_help_panel=STACKS)(e2e)
app.command("import", rich_help_panel=STACKS)(import_)
app.add_typer(local, name="local", rich_help_panel=MACHINE)


@app.command(rich_help_panel=MACHINE)
def doctor() -> None:
    """Say what this machine lacks for the local cloud, and the fix."""
    from pulumi_visgate.cli.doctor import examine  # noqa: PLC0415 - needs the [local] extra

    raise typer.Exit(examine(os.environ, Path.cwd()))


@app.command(rich_help_panel=MACHINE)
def quickstart(
    prompt: Annotated[str, typer.Option(help="What to draw.")] = "a red circle on white",
    seed: Annotated[int, typer.Option(help="Same seed, same picture.", min=0)] = 7,
) -> None:
    """Bring up everything on this machine and generate two pictures: what `make up` runs."""
    from pulumi_visgate.cli import quickstart as steps  # noqa: PLC0415 - needs the [local] extra

    steps.quickstart(prompt=prompt, seed=seed)


@app.command(rich_help_panel=MACHINE)
def teardown() -> None:
    """Destroy the local stack, check that nothing is left, and stop the local cloud: what `make down` runs."""
    from pulumi_visgate.cli import teardown as steps  # noqa: PLC0415 - needs the [local] extra

    steps.teardown()


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(version("pulumi-visgate"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Your own image and video inference platform on Runpod GPUs."""


def main() -> None:
    """Run the command line; a known error is one message and exit status 1, wrong usage is 2."""
    try:
        app()
    except VisgateError as error:
        complain(error)
        sys.exit(EXIT_FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(VisgateError(f"{where}{error.strerror or error}.", hint="Check permissions and free space."))
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
