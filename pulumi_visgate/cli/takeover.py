"""What `visgate import` does: a Pulumi program and an import file for what a Runpod account has already.

Pulumi asks a dynamic provider to read what is imported without telling it which provider it is, so an import by id
cannot work. A file with inputs and outputs spares that question. What is secret in it is encrypted by the stack: the
environment of a resource is put into the stack's configuration first, and the file repeats what `pulumi` wrote there.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pulumi.dynamic.dynamic import serialize_provider
from rich.table import Table

from pulumi_visgate.cli.console import err, out
from pulumi_visgate.cli.program import env_key, program
from pulumi_visgate.cli.stack import Stack
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.resources._export import Exported, NotTaken, export
from pulumi_visgate.resources._kinds import Kind
from pulumi_visgate.resources._provider import SECRET_SIGNATURE, SIGNATURE_KEY
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings

IMPORT_FILE = "import.json"
_TAKE_IT = f"pulumi import --file {IMPORT_FILE} --yes --generate-code=false --protect=false"


def write_import(
    folder: Path,
    *,
    stack: str | None,
    kinds: Sequence[Kind],
    pattern: str,
    program_file: str,
    force: bool = False,
) -> None:
    """Write program and import file, and say what to do with them.

    Args:
        folder: Of the Pulumi project; made, with its `Pulumi.yaml`, when it is not there.
        stack: Name of the stack; the selected one when left out.
        kinds: What to take.
        pattern: Only what has a name at Runpod that fits.
        program_file: Where the program goes, in the folder.
        force: Files may be overwritten.

    Raises:
        UsageError: A file is there already, or no stack is known.
        VisgateError: Runpod or `pulumi` refused.
    """
    files = [folder / program_file, folder / IMPORT_FILE]
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        detail = f"{' and '.join(there)} would be overwritten."
        raise UsageError(detail, hint="Choose another folder with -o, or allow it with --force.")
    with _session(os.environ) as session:
        session.endpoints.all()  # a wrong key is told before anything is made
        target = Stack.open(folder, stack, os.environ)
        owner = f"{target.project}/{target.name}"
        taken, others = export(session, owner=owner, kinds=kinds, pattern=pattern, owned=target.owned())
    _print(taken, others)
    if not taken:
        err().print("There is nothing to import.")
        return
    with err().status("Encrypting environments…"):
        kept = {
            resource.name: target.keep_secret(env_key(resource.name), json.dumps(resource.inputs["env"]))
            for resource in taken
            if resource.inputs.get("env")
        }
    files[0].write_text(program(taken, others), encoding="utf-8")
    files[1].write_text(json.dumps(import_file(taken, kept), indent=2) + "\n", encoding="utf-8")
    _print_next(folder, files, target, kept)


def import_file(taken: Sequence[Exported], kept: Mapping[str, str]) -> dict[str, Any]:
    """Return what `pulumi import --file` reads.

    Args:
        taken: Resources.
        kept: Encrypted environment by name of the resource.
    """
    return {"resources": [_entry(resource, kept.get(resource.name)) for resource in taken]}


def _entry(resource: Exported, kept: str | None) -> dict[str, Any]:
    provider = {"__provider": serialize_provider(resource.provider())}
    secret = {"env": {SIGNATURE_KEY: SECRET_SIGNATURE, "ciphertext": kept}} if kept else {}
    return {
        "type": f"pulumi-python:{resource.resource._resource_type_name}",  # noqa: SLF001, pulumi has no other way
        "name": resource.name,
        "id": resource.id,
        "inputs": resource.inputs | secret | provider,
        "outputs": resource.outputs | secret | provider,
    }


@contextmanager
def _session(environ: Mapping[str, str]) -> Iterator[Session]:
    settings = Settings.read(lambda _: None, environ)
    settings.require_key()
    session = Session(settings)
    with closing(session.runpod):
        yield session


def _print(taken: Sequence[Exported], others: Sequence[NotTaken]) -> None:
    if not taken and not others:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("kind", "id", "name at Runpod", "in the program"):
        table.add_column(column, overflow="fold")
    for resource in taken:
        table.add_row(resource.kind, resource.id, resource.found_name, f"{resource.resource.__name__} {resource.name}")
    for other in others:
        table.add_row(other.kind, other.id, other.found_name, f"- {other.reason}")
    out().print(table)
    for resource in taken:
        for remark in resource.remarks:
            err().print(f"{resource.name}: {remark}")


def _print_next(folder: Path, files: Sequence[Path], target: Stack, kept: Mapping[str, str]) -> None:
    console = err()
    console.print(f"Wrote {files[0]} and {files[1]}.")
    if kept:
        where = f"the configuration of stack {target.full_name}"
        console.print(f"Environments are encrypted, both in {where} and in {IMPORT_FILE}.")
    into = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    console.print(f"Take it over, which changes nothing at Runpod:\n  {into}{_TAKE_IT}")
    console.print("Then `pulumi preview` is empty, and `pulumi up` makes no call; import.json has served its purpose.")
