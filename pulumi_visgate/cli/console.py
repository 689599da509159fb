"""How the command line speaks: results on standard output, everything else on standard error."""

import os
import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pulumi_visgate.client.errors import JobFailedError
from pulumi_visgate.errors import VisgateError
from visgate_contract.redaction import Redactor

_PIPE_COLUMNS = 240
_DIME = 0.1  # below it, cents are too coarse
SECRET_VARIABLES = (
    "RUNPOD_API_KEY",
    "HF_TOKEN",
    "VISGATE_HOST_TOKEN",
    "VISGATE_S3_SECRET_ACCESS_KEY",
    "PULUMI_ACCESS_TOKEN",
)


def out() -> Console:
    """Return the console of results."""
    return _console(sys.stdout)


def err() -> Console:
    """Return the console of progress and complaints."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    # Where nobody looks at a screen there is no edge to cut at.
    width = None if file.isatty() else _PIPE_COLUMNS
    return Console(file=file, width=width, highlight=False, markup=False, soft_wrap=True)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named by `right` come last and hold numbers."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column, overflow="fold")
    for column in right:
        found.add_column(column, justify="right")
    return found


def usd(amount: float | None) -> str:
    """Return US dollars as they are shown; a question mark where nobody knows."""
    if amount is None:
        return "?"
    return f"{amount:,.2f}" if amount >= _DIME or not amount else f"{amount:.4f}"


def redactor() -> Redactor:
    """Return what masks the secrets of this process's environment."""
    return Redactor(value for name in SECRET_VARIABLES if (value := os.environ.get(name)))


def complain(error: VisgateError) -> None:
    """Print an error and what to do about it, without any secret."""
    mask = redactor()
    console = err()
    console.print(Text("visgate: ", style="bold red") + Text(mask.text(error.detail)))
    if error.hint:
        console.print(Text("  → ", style="bold") + Text(mask.text(error.hint)))
    for line in error.log_tail if isinstance(error, JobFailedError) else ():
        console.print(Text(f"  | {mask.text(line)}", style="dim"))
