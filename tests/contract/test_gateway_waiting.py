"""Why a job waits, as Runpod's emulator makes it wait: with real worker processes that fail, load, or do not come."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest

from pulumi_visgate.local.emulator.faults import FaultKind
from tests.contract.conftest import IMAGE

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
BROKEN = """
import os, sys
print("loading with", os.environ["VISGATE_WEBHOOK_SECRET"], flush=True)
sys.exit("RuntimeError: CUDA driver version is insufficient")
"""


def accepted(client: httpx.Client, prompt: str = "wait") -> str:
    answer = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": prompt}})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def told(client: httpx.Client, job_id: str, reason: str) -> dict[str, Any]:
    """The first `waiting` event with a reason; the stream ends with the test if there is none."""
    seen = []
    with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
        for sse in stream.iter_sse():
            if sse.event == "waiting":
                waiting: dict[str, Any] = json.loads(sse.data)
                seen.append(waiting["reason"])
                if waiting["reason"] == reason:
                    return waiting
    raise AssertionError(seen)


def test_workers_that_fail_as_soon_as_they_start(start_gateway: Any, runpod_emulator: Any, tmp_path: Path) -> None:
    gateway, key = start_gateway(), runpod_emulator.key
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)
    runpod_emulator.map_image(IMAGE, [sys.executable, str(script)])
    with gateway.client(key) as client:
        job_id = accepted(client)
        waiting = told(client, job_id, "crash_looping")
        assert "loading with [masked]" in waiting["log_tail"]
        assert "RuntimeError: CUDA driver version is insufficient" in waiting["log_tail"]
        assert waiting["workers"]["unhealthy"] == 1
        assert client.post(f"/v1/jobs/{job_id}/cancel").json()["error"]["code"] == "cancelled"


def test_no_machine_is_free_and_then_one_is(start_gateway: Any, runpod_emulator: Any) -> None:
    runpod_emulator.fault(FaultKind.NO_CAPACITY, times=None)
    gateway = start_gateway()
    with gateway.client(runpod_emulator.key) as client:
        job_id = accepted(client, "a red fox")
        assert told(client, job_id, "throttled")["queue_position"] == 0
        shown = client.get(f"/v1/jobs/{job_id}").json()
        assert (shown["status"], shown["waiting"]["reason"]) == ("provisioning", "throttled")
        runpod_emulator.clear_faults()
        assert gateway.follow(client, job_id)[-1].data.status == "ready"
        assert client.get(f"/v1/jobs/{job_id}").json()["waiting"] is None


def test_a_worker_loads_the_model_and_the_next_job_queues(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway(WORKERS_MAX="1")
    with gateway.client(runpod_emulator.key) as client:
        first, second = accepted(client, "load"), accepted(client, "load")
        waiting = told(client, first, "loading_model")
        assert waiting["loading"] == {"source": "s3", "done_bytes": 1_000_000, "total_bytes": 5_000_000}
        assert told(client, second, "queued")["workers"]["running"] == 1
        for job_id in (second, first):
            client.post(f"/v1/jobs/{job_id}/cancel")
