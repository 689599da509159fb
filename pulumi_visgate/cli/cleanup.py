"""`visgate cleanup`: deletes the endpoints that a gateway made on demand and that no stack owns."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from pulumi_visgate.cli.console import err, out
from pulumi_visgate.cli.errors import UsageError
from pulumi_visgate.cli.target import KEY_ENV
from pulumi_visgate.runpod.client import API_URL, RunpodClient
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import Endpoint
from visgate_contract.names import USER_LENGTH, EndpointName, user_hash


def cleanup(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep: Annotated[list[str] | None, typer.Option(help="Id of an endpoint to keep; may be repeated.")] = None,
) -> None:
    """Delete your Visgate endpoints at Runpod, those of --keep apart, after showing them.

    These are the endpoints named visgate-… for the key in RUNPOD_API_KEY. A stack's own endpoints carry such names too:
    keep them, or destroy the stack.
    """
    with runpod_client() as runpod:
        found = own_endpoints(runpod.list_endpoints(), os.environ[KEY_ENV], keep=keep or ())
        if not found:
            err().print("There is no Visgate endpoint of this key to delete.")
            return
        _print(found)
        if not yes:
            if not sys.stdin.isatty():
                detail = "Nobody is there to confirm the deletion."
                raise UsageError(detail, hint="Add --yes to delete these endpoints.")
            typer.confirm(f"Delete {len(found)} endpoint(s), with their queued jobs?", abort=True, err=True)
        delete_endpoints(runpod, found)
        err().print(f"Deleted {len(found)} endpoint(s).")


def runpod_client() -> RunpodClient:
    """Return a client for the account of this process's environment.

    Raises:
        UsageError: There is no key.
    """
    key = os.environ.get(KEY_ENV)
    if not key:
        detail = f"{KEY_ENV} is not set."
        raise UsageError(detail, hint='For the local cloud: eval "$(visgate local env)".')
    return RunpodClient(SecretStr(key), base_url=os.environ.get("RUNPOD_API_URL") or API_URL)


def own_endpoints(endpoints: Iterable[Endpoint], key: str, *, keep: Iterable[str] = ()) -> list[Endpoint]:
    """Return the endpoints that carry a name of this product for the owner of a key.

    Args:
        endpoints: Of the account.
        key: Runpod API key.
        keep: Ids of endpoints to leave out.
    """
    user, kept = user_hash(key)[:USER_LENGTH], set(keep)
    own = []
    for endpoint in endpoints:
        name = EndpointName.parse(endpoint.name)
        if name is not None and name.user == user and endpoint.id not in kept:
            own.append(endpoint)
    return own


def delete_endpoints(runpod: RunpodClient, endpoints: Sequence[Endpoint]) -> None:
    """Delete endpoints (`deleteEndpoint`); one that is gone already is fine."""
    for endpoint in endpoints:
        try:
            runpod.delete_endpoint(endpoint.id)
        except NotFound:
            continue


def _print(endpoints: Sequence[Endpoint]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "workers (min-max)", "created"):
        table.add_column(column, overflow="fold")
    for endpoint in endpoints:
        workers = f"{endpoint.workers.min}-{endpoint.workers.max}"
        table.add_row(endpoint.id, endpoint.name, workers, f"{endpoint.created_at:%Y-%m-%d %H:%M}")
    out().print(table)
