"""`visgate teardown`: undoes `visgate quickstart`. `make down` runs this."""

import os
from pathlib import Path

from pydantic import SecretStr

from pulumi_visgate.cli.cleanup import delete_endpoints, own_endpoints
from pulumi_visgate.cli.console import err
from pulumi_visgate.cli.local import say_what_is_down
from pulumi_visgate.cli.steps import Steps
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.local import cloud
from pulumi_visgate.local.engine import Engine
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.state import CloudState
from pulumi_visgate.runpod.client import RunpodClient


class LeftoverError(VisgateError):
    """Something is left in the account or the buckets."""


def teardown() -> None:
    """Destroy the local stack, see that account and buckets are empty, and end the local cloud.

    Raises:
        VisgateError: A step failed, or something is left; running it again goes on where it stopped.
    """
    steps = Steps(err())
    project = Path.cwd()
    home = Home.find(os.environ, project)
    state = CloudState.load(home)
    if state is not None and _has_work(home, state, project):
        with steps.step("looking at the local cloud") as done:
            report = cloud.up(home, environ=os.environ, say=steps.aside)  # destroying needs the API
            done("local cloud up" + (" again, to empty it" if report.started else ""))
        key = report.environment["RUNPOD_API_KEY"]
        engine = Engine.of(home, report.state, project=project, environ=os.environ, say=steps.aside)
        with RunpodClient(SecretStr(key), base_url=report.state.url("emulator")) as runpod:
            _empty(steps, engine, runpod, key)
            _check(steps, home, runpod)
    down = cloud.down(home)
    say_what_is_down(down)


def _has_work(home: Home, state: CloudState, project: Path) -> bool:
    """Tell whether there may be something to delete: a running cloud, or a stack with resources."""
    if state.processes:
        return True
    engine = Engine.of(home, state, project=project, environ=os.environ)
    return engine.has_stack() and bool(engine.resources())


def _empty(steps: Steps, engine: Engine, runpod: RunpodClient, key: str) -> None:
    has_stack = engine.has_stack()
    owned = [str(found["id"]) for found in engine.resources() if "id" in found] if has_stack else []
    with steps.step("deleting what the gateway made") as done:
        # First these: a volume cannot go while an endpoint uses it.
        own = own_endpoints(runpod.list_endpoints(), key, keep=owned)
        delete_endpoints(runpod, own)
        done(f"endpoints made on demand deleted: {len(own)}")
    if has_stack:
        with steps.step("destroying the stack") as done:
            changes = engine.destroy()
            done(f"stack destroyed: {changes['delete']} resources deleted")
        delete_endpoints(runpod, own_endpoints(runpod.list_endpoints(), key))


def _check(steps: Steps, home: Home, runpod: RunpodClient) -> None:
    with steps.step("looking for leftovers") as done:
        left = [f"endpoint {endpoint.name}" for endpoint in runpod.list_endpoints()]
        left += [f"template {template.name}" for template in runpod.list_templates()]
        left += [f"network volume {volume.name}" for volume in runpod.list_network_volumes()]
        left += [f"bucket {folder.name}" for folder in home.s3.iterdir() if not folder.name.startswith(".")]
        if left:
            detail = f"The stack is gone, but this is left: {', '.join(left)}."
            raise LeftoverError(detail, hint="Delete it, or `visgate local down --purge` to drop the whole account.")
        done("account and buckets are empty")
