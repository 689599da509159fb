"""How the command line speaks: results on standard output, everything else on standard error."""

import os
import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

from pulumi_visgate.errors import VisgateError
from visgate_contract.redaction import Redactor

_PIPE_COLUMNS = 240
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
