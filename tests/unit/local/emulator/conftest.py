"""Shared by the emulator's tests: HTTP clients, endpoints, worker programs, and waiting with a deadline."""

import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator

T = TypeVar("T")

DEADLINE_S = 60.0
IMAGE = "example/worker"


@pytest.fixture
def until() -> Callable[[Callable[[], T]], T]:
    """Wait until a call returns something true, and return that."""

    def wait(probe: Callable[[], T]) -> T:
        deadline = time.monotonic() + DEADLINE_S
        while not (value := probe()):
            if time.monotonic() > deadline:
                message = "gave up waiting"
                raise AssertionError(message)
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture
def api(runpod_emulator: RunpodEmulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {runpod_emulator.key}"}
    with httpx.Client(
        base_url=runpod_emulator.api_url, headers=headers, timeout=60, trust_env=False, verify=False
    ) as client:
        yield client


@pytest.fixture
def jobs(runpod_emulator: RunpodEmulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {runpod_emulator.key}"}
    with httpx.Client(
        base_url=runpod_emulator.jobs_url, headers=headers, timeout=60, trust_env=False, verify=False
    ) as client:
        yield client


@pytest.fixture
def endpoint(api: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Create an endpoint; arguments replace fields of the request."""

    def create(**fields: Any) -> dict[str, Any]:
        body = {
            "name": "painter",
            "image": f"{IMAGE}:1",
            "type": "QUEUE",
            "gpu": {"pools": ["ADA_24"]},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
            **fields,
        }
        answer = api.post("/v2/serverless", json={name: value for name, value in body.items() if value is not None})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    return create


@pytest.fixture
def sdk_worker(runpod_emulator: RunpodEmulator, tmp_path: Path) -> Callable[[str], None]:
    """Let the test's image run a handler on the unmodified runpod SDK; the source defines `handler`."""

    def install(source: str) -> None:
        script = tmp_path / "worker.py"
        body = textwrap.dedent(source)
        script.write_text(f"import runpod\n{body}\nrunpod.serverless.start({{'handler': handler}})\n")
        runpod_emulator.map_image(IMAGE, [sys.executable, str(script)])

    return install


PLAIN = """
import json, os, sys, time, urllib.request

def call(url, body=None):
    url = url.replace("$RUNPOD_POD_ID", os.environ["RUNPOD_POD_ID"])
    request = urllib.request.Request(url, data=body, headers={"Authorization": os.environ["RUNPOD_AI_API_KEY"]})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return answer.read()

def take():
    while True:
        url = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", os.environ["RUNPOD_POD_ID"])
        body = call(url + "&job_in_progress=0")
        if body:
            return json.loads(body)

def done(job, result):
    url = os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$ID", job["id"]) + "&isStream=false"
    call(url, json.dumps(result).encode())
"""


@pytest.fixture
def plain_command(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return the command of a script without SDK, which starts fast; it has `take()` and `done(job, result)`."""

    def write(source: str) -> list[str]:
        script = tmp_path / "plain.py"
        script.write_text(PLAIN + textwrap.dedent(source))
        return [sys.executable, "-I", "-S", str(script)]

    return write


@pytest.fixture
def plain_worker(runpod_emulator: RunpodEmulator, plain_command: Callable[[str], list[str]]) -> Callable[[str], None]:
    """Let the test's image run such a script."""

    def install(source: str) -> None:
        runpod_emulator.map_image(IMAGE, plain_command(source))

    return install
