"""Why a job waits, for everything that Runpod can say about an endpoint."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.services import observe, waiting
from tests.unit.gateway.test_jobs import BODY, KEY, event, pool
from visgate_contract.events import LoadProgress, Progress, Status
from visgate_contract.jobs import JobProgress


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "COUNTS_S", -1.0)
    monkeypatch.setattr(observe, "FIRST_LINE_S", 0.2)
    monkeypatch.setattr(observe, "SILENCE_S", 0.05)


def health(in_queue: int = 1, **workers: int) -> httpx.Response:
    return httpx.Response(200, json={"jobs": {"inQueue": in_queue}, "workers": workers})


async def shown(client: httpx.AsyncClient, runpod: Any, answer: httpx.Response) -> dict[str, Any]:
    job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
    runpod.answers["health"] = answer
    found: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    return found


@pytest.mark.parametrize(
    ("workers", "grace_s", "reason"),
    [
        ({"running": 1}, 20, "queued"),
        ({"idle": 1, "unhealthy": 1}, 20, "queued"),
        ({"initializing": 1, "throttled": 1}, 20, "starting"),
        ({"throttled": 2}, 20, "throttled"),
        ({"unhealthy": 1, "initializing": 1}, 20, "crash_looping"),
        ({}, 20, "starting"),
        ({}, -1, "no_capacity"),
    ],
)
async def test_the_reason_follows_from_the_workers(
    serve: Any,
    runpod: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    workers: dict[str, int],
    grace_s: float,
    reason: str,
) -> None:
    monkeypatch.setattr(waiting, "SCALING_S", grace_s)
    pool(runpod)
    async with serve() as client:
        found = await shown(client, runpod, health(3, **workers))
    told = found["waiting"]
    assert (found["status"], told["reason"], told["queue_position"]) == ("provisioning", reason, 2)
    assert told["workers"].items() >= workers.items()
    assert told["detail"]
    assert told["hint"]
    assert 0 <= told["waited_s"] < 60


@pytest.mark.parametrize(
    ("stock", "reason"), [({}, "throttled"), ({"EU-RO-1": "NONE"}, "no_capacity"), ({"EU-RO-1": "LOW"}, "throttled")]
)
@pytest.mark.parametrize("places", [[], ["EU-RO-1"]])
async def test_the_catalog_tells_throttled_workers_from_a_lack_of_machines(
    serve: Any, runpod: Any, *, stock: dict[str, str], reason: str, places: list[str]
) -> None:
    if stock:
        runpod.offer_gpu("ADA_24", 24, 1.1, **stock)
    pool(runpod, dataCenterIds=places)
    async with serve() as client:
        found = await shown(client, runpod, health(throttled=1))
    assert found["waiting"]["reason"] == reason


async def test_an_endpoint_that_was_scaled_down_meanwhile(serve: Any, runpod: Any) -> None:
    endpoint = pool(runpod)
    async with serve(list_ttl_s=0) as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        runpod.endpoints[endpoint]["workers"] = {"min": 0, "max": 0, "idleTimeout": 5}
        assert (await client.get(f"/v1/jobs/{job_id}")).json()["waiting"]["reason"] == "scaled_to_zero"


async def test_the_last_words_of_a_worker_that_fails_are_told_without_secrets(serve: Any, runpod: Any) -> None:
    pool(runpod)
    now = datetime.now(UTC).isoformat()
    runpod.logs["w1"] = [(now, f"key {KEY}"), (now + "/2", "\x1b[31mCUDA is not available\x1b[0m")]
    runpod.worker_status = "UNHEALTHY"
    async with serve() as client:
        found = await shown(client, runpod, health(unhealthy=1))
        again = (await client.get(f"/v1/jobs/{found['job_id']}")).json()
    assert found["waiting"]["log_tail"] == again["waiting"]["log_tail"] == ["key [masked]", "CUDA is not available"]
    assert runpod.calls["worker_logs"] == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["start container", "worker exited with exit code 1", "start container"], "crash_looping"),
        (["start container for acme/worker: begin", "start container for acme/worker: begin"], "crash_looping"),
        (["create container acme/worker", "pulling image", "container exited with code 137"], "crash_looping"),
        (["create container acme/worker", "image pull: 30 %", "exited with code 0"], "starting"),
        ([], "starting"),
    ],
)
async def test_a_worker_that_starts_again_and_again_is_not_said_to_start(
    serve: Any, runpod: Any, monkeypatch: pytest.MonkeyPatch, said: list[str], reason: str
) -> None:
    monkeypatch.setattr(waiting, "SUSPICIOUS_S", -1.0)
    pool(runpod)
    runpod.logs["w1"] = [(f"{datetime.now(UTC).isoformat()}/{number}", line) for number, line in enumerate(said)]
    runpod.log_source = "system"
    runpod.worker_status = "INITIALIZING"
    async with serve() as client:
        found = await shown(client, runpod, health(initializing=1))
    assert found["waiting"]["reason"] == reason
    assert found["waiting"]["log_tail"] == (said if reason == "crash_looping" else [])


async def test_how_far_the_model_is(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        (job,) = runpod.jobs.values()
        loading = LoadProgress(source="s3", done_bytes=1_000, total_bytes=5_000)
        told = (event(job, 1, Status.STARTED), event(job, 2, Status.PROGRESS, loading=loading))
        job.update(status="IN_PROGRESS", workerId="w1", output=JobProgress(events=told).model_dump(mode="json"))
        loads = (await client.get(f"/v1/jobs/{job_id}")).json()
        drawing = event(job, 3, Status.PROGRESS, progress=Progress(step=1, steps=4))
        job.update(output=JobProgress(events=(*told, drawing)).model_dump(mode="json"))
        draws = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert loads["waiting"]["reason"] == "loading_model"
    assert loads["waiting"]["loading"] == {"source": "s3", "done_bytes": 1_000, "total_bytes": 5_000}
    assert draws["waiting"] is None


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(429), httpx.ReadTimeout("slow")])
async def test_what_runpod_does_not_tell_is_left_out(serve: Any, runpod: Any, answer: Any) -> None:
    pool(runpod)
    async with serve(runpod_timeout_s=0.2) as client:
        found = await shown(client, runpod, answer)
    assert (found["status"], found["waiting"]) == ("provisioning", None)


async def test_asking_often_costs_runpod_little(serve: Any, runpod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "COUNTS_S", 60.0)
    pool(runpod)
    async with serve() as client:
        found = await shown(client, runpod, health(initializing=1))
        before = runpod.calls["health"]
        for _ in range(20):
            await client.get(f"/v1/jobs/{found['job_id']}")
    assert runpod.calls["health"] == before
    assert runpod.calls["list_workers"] == 0
