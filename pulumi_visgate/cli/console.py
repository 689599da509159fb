"""How the command line speaks: results on standard output, everything else on standard error."""

import os
import sys

from rich.console import Console
from rich.text import Text

from pulumi_visgate.errors import VisgateError
from visgate_contract.redaction import Redactor

SECRET_VARIABLES = (
    "RUNPOD_API_KEY",
    "HF_TOKEN",
    "VISGATE_HOST_TOKEN",
    "VISGATE_S3_SECRET_ACCESS_KEY",
    "PULUMI_ACCESS_TOKEN",
)


def out() -> Console:
    """Return the console of results."""
    return Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)


def err() -> Console:
    """Return the console of progress and complaints."""
    return Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)


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
