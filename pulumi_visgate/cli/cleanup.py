"""`visgate cleanup`: removes what no stack owns, at Runpod and in AWS."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr
from rich.table import Table

from pulumi_visgate.aws_prices import HOURS_A_MONTH
from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.cli.leftovers import Leftover, at_runpod
from pulumi_visgate.cli.leftovers_aws import AwsAccount, in_aws, region_of
from pulumi_visgate.cli.stack import Stack, stack_environment
from pulumi_visgate.client.address import KEY_ENV
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.runpod.client import API_URL, RunpodClient
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import Endpoint
from visgate_contract.names import USER_LENGTH, EndpointName, user_hash


class CleanupError(VisgateError):
    """Something could not be looked up or removed."""


def cleanup(
    stack: Annotated[
        str | None, typer.Option(help="Look for what this stack has left behind, at Runpod and in AWS.")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help="Id of an endpoint, or id or ARN of anything, to keep; may be repeated.")
    ] = None,
) -> None:
    """Show what nobody owns any more, with what it costs, and remove it once you agree.

    Without --stack: the endpoints named visgate-… for the key in RUNPOD_API_KEY. A stack's own endpoints carry such
    names too: keep them, or destroy the stack.

    With --stack: whatever carries the stack's names at Runpod or its tag in AWS, and is not in its state: what
    retain_data has left, what a gateway has made, what a broken run has lost. The stack itself is left alone.
    """
    if stack is not None:
        clean_stack(stack, yes=yes, keep=keep or ())
        return
    with runpod_client() as runpod:
        found = own_endpoints(runpod.list_endpoints(), os.environ[KEY_ENV], keep=keep or ())
        if not found:
            err().print("There is no Visgate endpoint of this key to delete.")
            return
        _print(found)
        _agree(f"Delete {len(found)} endpoint(s), with their queued jobs?", yes=yes, what="these endpoints")
        delete_endpoints(runpod, found)
        err().print(f"Deleted {len(found)} endpoint(s).")


def clean_stack(stack: str, *, yes: bool, keep: Iterable[str]) -> None:
    """Remove what a stack has left behind.

    Args:
        stack: Its name.
        yes: Do not ask.
        keep: Ids or ARNs to leave.

    Raises:
        VisgateError: Something could not be looked up or removed; running it again goes on where it stopped.
    """
    environment = stack_environment(stack, os.environ, Path.cwd())
    opened = Stack.existing(Path.cwd(), stack, environment)
    resources = opened.resources()
    with runpod_client(environment) as runpod:
        found = at_runpod(runpod, environment[KEY_ENV], opened, resources)
        if _has_aws(opened, resources):
            account = AwsAccount(environment, region_of(resources, environment))
            found += _asked(lambda: in_aws(account, opened, resources))
        kept = set(keep)
        found = [one for one in found if one.id not in kept]
        if not found:
            err().print(f"Stack {stack} has left nothing behind.")
            return
        _print_leftovers(found)
        here = [(one, one.remove) for one in found if one.remove is not None]
        data = sum(one.holds_data for one, _ in here)
        lost = f", {data} of them with data that is lost" if data else ""
        _agree(f"Remove {len(here)} of {len(found)} thing(s){lost}?", yes=yes, what="them")
        for one, remove in here:
            _asked(remove)
            err().print(f"Removed {one.kind} {one.name}.")


def _has_aws(stack: Stack, resources: Iterable[dict[str, Any]]) -> bool:
    """Tell whether a stack is one of AWS, also when nothing is left in it."""
    return any(str(found.get("type", "")).startswith(("aws:", "pulumi:providers:aws")) for found in resources) or (
        stack.has_config("aws:region")
    )


T = TypeVar("T")


def _asked(call: Callable[[], T]) -> T:
    """Call AWS or Runpod, and tell in one sentence what it refused."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415, slow to import

    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        detail = f"AWS: {redactor().text(str(error))}"
        raise CleanupError(detail, hint="See docs/aws.md for the permissions of cleanup, then run it again.") from error


def _agree(question: str, *, yes: bool, what: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        detail = "Nobody is there to confirm the deletion."
        raise UsageError(detail, hint=f"Add --yes to delete {what}.")
    typer.confirm(question, abort=True, err=True)


def _print_leftovers(found: Sequence[Leftover]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("where", "what", "name", "id"):
        table.add_column(column, overflow="fold")
    table.add_column("$ a month", justify="right")
    table.add_column("")
    for one in found:
        cost = "?" if one.hourly_usd is None else f"{one.hourly_usd * HOURS_A_MONTH:,.2f}"
        note = "by hand" if one.remove is None else "holds data" if one.holds_data else ""
        table.add_row(one.cloud, one.kind, one.name, one.id, cost, note)
    out().print(table)


def runpod_client(environ: Mapping[str, str] = os.environ) -> RunpodClient:
    """Return a client for the account of an environment, this process's own by default.

    Args:
        environ: With the key.

    Raises:
        UsageError: There is no key.
    """
    key = environ.get(KEY_ENV)
    if not key:
        detail = f"{KEY_ENV} is not set."
        raise UsageError(detail, hint='For the local cloud: eval "$(visgate local env)".')
    return RunpodClient(SecretStr(key), base_url=environ.get("RUNPOD_API_URL") or API_URL)


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
