"""`visgate import`: takes what a Runpod account has into a Pulumi program."""

from pathlib import Path
from typing import Annotated

import typer

from pulumi_visgate.resources._kinds import Kind

PROGRAM_FILE = "__main__.py"


def import_(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the Pulumi project; made if need be.")
    ] = Path(),
    stack: Annotated[
        str | None, typer.Option("--stack", "-s", help="Stack to import into, made if need be; else the selected one.")
    ] = None,
    only: Annotated[list[Kind] | None, typer.Option(help="Take this kind only; may be repeated.")] = None,
    name: Annotated[str, typer.Option(help="Take only what has such a name at Runpod, as in a shell.")] = "*",
    program_file: Annotated[str, typer.Option("--program", help="File of the program, in the folder.")] = PROGRAM_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the program and import.json.")] = False,
) -> None:
    """Write a Pulumi program for what your Runpod account has, and the file for `pulumi import` to take it over.

    Nothing is changed at Runpod. Environments go into the configuration of the stack, encrypted. The key is read from
    RUNPOD_API_KEY.
    """
    from pulumi_visgate.cli.takeover import write_import  # noqa: PLC0415 - loads Pulumi

    write_import(output, stack=stack, kinds=only or list(Kind), pattern=name, program_file=program_file, force=force)
