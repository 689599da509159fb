"""`pulumi up` killed in the middle, and everything taken down again."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import httpx
import psutil
import pytest

from pulumi_visgate.cli.quickstart import place_model
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import end_all, members

pytestmark = pytest.mark.chaos

LATENCY_MS = 400


@contextmanager
def running_up(stack: Any, cloud: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = ["pulumi", "up", "--stack", "local", "--yes", "--skip-preview", "--non-interactive"]
    environment = stack.environment() | cloud
    with subprocess.Popen(
        command, cwd=stack.project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def account(cloud: dict[str, str]) -> dict[str, Any]:
    accounts = httpx.get(f"{cloud['RUNPOD_API_URL']}/admin/accounts", trust_env=False).json()["accounts"]
    return next((found for found in accounts if not found["empty"]), {"empty": True})


@pytest.mark.parametrize("what", [pytest.param("networkVolumes", marks=pytest.mark.long), "endpoints"])
def test_a_killed_up_leaves_nothing_twice_and_teardown_leaves_nothing(
    empty_project: Any, what: str, request: pytest.FixtureRequest
) -> None:
    stack = empty_project
    stack.run("visgate", "local", "up")
    home = Home(stack.home)
    place_model(home, stack.project)
    cloud = stack.cloud()
    stack.pulumi("stack", "init", "local")
    admin = f"{cloud['RUNPOD_API_URL']}/admin"
    httpx.put(f"{admin}/latency", json={"ms": LATENCY_MS}, trust_env=False).raise_for_status()
    with running_up(stack, cloud) as process:
        plugins = until_there_is(cloud, what, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    request.addfinalizer(lambda: end_all(plugins))  # they outlive their engine, and may still be at work
    httpx.put(f"{admin}/latency", json={"ms": 0}, trust_env=False).raise_for_status()

    stack.pulumi("cancel", "--stack", "local", "--yes", check=False)
    stack.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
    found = account(cloud)
    assert (found["endpoints"], found["networkVolumes"], found["templates"]) == (1, 1, 0)
    assert len(buckets(home)) == 2  # artifacts, and the volume
    stack.pulumi("preview", "--stack", "local", "--expect-no-changes")

    down = stack.run("visgate", "teardown")
    assert "account and buckets are empty" in down.stdout
    assert buckets(home) == []
    assert members(home.root) == []
    assert stack.run("visgate", "local", "status", check=False).returncode == 3


def until_there_is(cloud: dict[str, str], what: str, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    deadline = monotonic() + 120
    while not account(cloud).get(what):
        assert process.poll() is None, "it ended before it could be killed"
        assert monotonic() < deadline
        sleep(0.005)
    return psutil.Process(process.pid).children(recursive=True)


def buckets(home: Home) -> list[str]:
    return sorted(folder.name for folder in home.s3.iterdir() if not folder.name.startswith("."))
