"""Workers of a former release are replaced one by one, also where the maximum leaves no room for both."""

import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator

Create = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], Any]], Any]

# Asks for jobs as Runpod's SDK does, which takes seconds to import.
WORKS = """
import os, urllib.request
url = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", os.environ["RUNPOD_POD_ID"])
while True:
    ask = urllib.request.Request(url, headers={"Authorization": os.environ["RUNPOD_AI_API_KEY"]})
    urllib.request.urlopen(ask).read()
"""


@pytest.mark.parametrize("most", [2, 3])
def test_a_release_rolls_without_a_moment_without_a_ready_worker(
    api: httpx.Client, endpoint: Create, until: Until, runpod_emulator: RunpodEmulator, most: int
) -> None:
    runpod_emulator.map_image("example/worker", [sys.executable, "-c", WORKS])
    path = f"/v2/serverless/{endpoint(workers={'min': 2, 'max': most})['id']}"

    def ready() -> list[dict[str, Any]]:
        workers = api.get(f"{path}/workers").json()["workers"]
        assert len(workers) <= most
        return [worker for worker in workers if worker["status"] == "IDLE"]

    until(lambda: len(ready()) == 2)
    api.patch(path, json={"image": "example/worker:2"})

    def rolled() -> bool:
        found = ready()
        assert found
        return [worker["isStale"] for worker in found] == [False, False]

    until(rolled)
    rollout = api.get(f"{path}/releases").json()["rollout"]
    assert (rollout["inProgress"], rollout["workersOnLatest"], rollout["percentOnLatest"]) == (False, 2, 100)


def test_a_broken_release_leaves_former_workers_in_place_and_takes_one_place_only(
    api: httpx.Client, endpoint: Create, until: Until, runpod_emulator: RunpodEmulator
) -> None:
    runpod_emulator.map_image("example/worker:1", [sys.executable, "-c", WORKS])
    runpod_emulator.map_image("example/worker:2", [sys.executable, "-c", "raise SystemExit('no model')"])
    path = f"/v2/serverless/{endpoint(workers={'min': 2, 'max': 3})['id']}"

    def states() -> list[tuple[str, bool]]:
        return sorted((worker["status"], worker["isStale"]) for worker in api.get(f"{path}/workers").json()["workers"])

    until(lambda: states() == [("IDLE", False)] * 2)
    api.patch(path, json={"image": "example/worker:2"})
    broken = [("IDLE", True), ("IDLE", True), ("UNHEALTHY", False)]
    until(lambda: states() == broken)
    summary = api.get(f"{path}/workers").json()["summary"]
    assert (summary["unhealthy"], summary["total"]) == (1, 3)
    api.patch(path, json={"image": "example/worker:1"})
    until(lambda: states() == [("IDLE", False)] * 2)
