import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from visgate_contract.events import Event, EventData, Progress, Status
from visgate_contract.jobs import JobError, JobInput, JobProgress, JobResult
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import JobRef, derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
MODEL = "visgate/tiny-sd"
SECRET = derive_webhook_secret(SIGNING_KEY, user_hash(KEY))
INPUT = {"prompt": "a red fox", "width": 64, "height": 64, "seed": 7}
BODY = {"model": MODEL, "input": INPUT}


def pool(runpod: Any, *, workers_max: int = 2, policy: PoolPolicy = PoolPolicy.ALWAYS_ON, **changes: Any) -> str:
    """An endpoint as a Pulumi program makes it."""
    name = EndpointName.build(
        user_hash=user_hash(KEY), model_id=MODEL, task=Task.TEXT2IMG, policy=policy, spec={"by": "pulumi"}
    )
    body = {
        "name": str(name),
        "env": {"VISGATE_MODEL_ID": MODEL, "VISGATE_WEBHOOK_SECRET": SECRET},
        "workers": {"min": 1, "max": workers_max, "idleTimeout": 5},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
        "gpu": {"pools": ["ADA_24"]},
        **changes,
    }
    endpoint_id: str = runpod.add(body)["id"]
    return endpoint_id


def event(job: dict[str, Any], sequence: int, status: Status, **data: Any) -> Event:
    inner = EventData(
        task_id=job["input"]["task_id"], sequence=sequence, status=status, model_id=MODEL, task=Task.TEXT2IMG, **data
    )
    return Event.of(inner, timestamp=datetime.now(UTC))


async def test_a_job_for_a_started_pool_is_warm(serve: Any, runpod: Any) -> None:
    endpoint = pool(runpod)
    runpod.start_worker(endpoint)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=BODY)
    body = answer.json()
    assert answer.status_code == 202, body
    assert (body["status"], body["endpoint_id"], body["task"]) == ("warm_ready", endpoint, "text2img")
    assert runpod.calls == {"list_endpoints": 1, "health": 1, "run": 1}
    ref = JobRef.parse(body["job_id"], SECRET)
    assert (ref.endpoint_id, ref.task_id) == (endpoint, body["task_id"])
    assert body["links"]["events"] == f"http://gateway.test/v1/jobs/{body['job_id']}/events"


async def test_the_queued_job_is_what_the_worker_reads(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json={**BODY, "input": {**INPUT, "num_images": 2}})
    (sent,) = runpod.bodies["run"]
    job = JobInput.model_validate_json(json.dumps(sent["input"]))
    assert answer.json()["status"] == "accepted_cold"
    assert (job.params.prompt, job.params.seed, job.announced) == ("a red fox", 7, False)
    assert sent["policy"] == {"executionTimeout": 900_000, "ttl": 86_400_000}
    prefix = f"{user_hash(KEY)[:16]}/{job.task_id}"
    assert [upload.cdn_url for upload in job.uploads] == [
        f"http://cdn.test/artifacts/{prefix}/{n}.png" for n in range(2)
    ]
    put = urlsplit(job.uploads[0].put_url)
    assert (put.netloc, put.path) == ("s3.test", f"/artifacts/{prefix}/0.png")
    query = parse_qs(put.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert "content-type" in query["X-Amz-SignedHeaders"][0]
    assert job.uploads[0].headers == {"Content-Type": "image/png"}
    assert KEY not in json.dumps(sent)


async def test_a_list_is_asked_for_once_in_its_time(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve(list_ttl_s=60) as client:
        for _ in range(3):
            assert (await client.post("/v1/jobs", json=BODY)).status_code == 202
    assert runpod.calls["list_endpoints"] == 1
    assert runpod.calls["run"] == 3


async def test_an_endpoint_that_is_gone_is_replaced(serve: Any, runpod: Any) -> None:
    gone = pool(runpod)
    async with serve(list_ttl_s=60) as client:
        assert (await client.post("/v1/jobs", json=BODY)).json()["endpoint_id"] == gone
        del runpod.endpoints[gone]
        answer = (await client.post("/v1/jobs", json=BODY)).json()
    assert answer["status"] == "accepted_cold"
    assert list(runpod.endpoints) == [answer["endpoint_id"]]


async def test_an_endpoint_scaled_to_zero_is_restored_first(serve: Any, runpod: Any) -> None:
    endpoint = pool(runpod, workers_max=0)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=BODY)
    assert answer.json()["endpoint_id"] == endpoint
    assert runpod.bodies["update_endpoint"] == [{"workers": {"min": 1, "max": 3, "idleTimeout": 5}}]


async def test_show_follows_the_worker(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        url = f"/v1/jobs/{job_id}"
        (job,) = runpod.jobs.values()
        assert (await client.get(url)).json()["status"] == "provisioning"

        job.update(status="IN_PROGRESS", workerId="w1")
        assert (await client.get(url)).json()["status"] == "started"

        told = (event(job, 1, Status.STARTED), event(job, 2, Status.PROGRESS, progress=Progress(step=1, steps=4)))
        job.update(output=JobProgress(events=told).model_dump(mode="json"))
        shown = (await client.get(url)).json()
        assert (shown["status"], shown["progress"], shown["worker_id"]) == ("progress", {"step": 1, "steps": 4}, "w1")

        result = JobResult(task_id=job["input"]["task_id"], events=told)
        job.update(status="COMPLETED", output=result.to_runpod())
        assert (await client.get(url)).json()["status"] == "ready"


async def test_show_tells_why_a_job_failed_without_secrets(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        (job,) = runpod.jobs.values()
        error = JobError(code="generation_failed", detail=f"CUDA went away, key {KEY}, secret {SECRET}")
        answer = JobResult(task_id=job["input"]["task_id"], error=error).to_runpod()
        job.update(status="FAILED", error=answer.pop("error"), output=answer)
        shown = await client.get(f"/v1/jobs/{job_id}")
    assert shown.json()["status"] == "failed"
    assert shown.json()["error"]["code"] == "generation_failed"
    assert KEY not in shown.text
    assert SECRET not in shown.text


async def test_cancel(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        answer = await client.post(f"/v1/jobs/{job_id}/cancel")
        again = await client.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == again.status_code == 200
    assert answer.json()["error"]["code"] == "cancelled"
    assert again.json()["runpod_status"] == "CANCELLED"
    assert runpod.calls["cancel"] == 1


@pytest.mark.parametrize("state", ["FAILED", "TIMED_OUT"])
async def test_a_failed_job_is_tried_again_under_its_id(serve: Any, runpod: Any, state: str) -> None:
    pool(runpod)
    async with serve() as client:
        accepted = (await client.post("/v1/jobs", json=BODY)).json()
        (job,) = runpod.jobs.values()
        job.update(status=state, error="worker died")
        answer = await client.post(accepted["links"]["retry"])
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["job_id"], shown["status"], shown["error"]) == (accepted["job_id"], "provisioning", None)
    assert runpod.calls["retry"] == 1


@pytest.mark.parametrize("state", ["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "CANCELLED"])
async def test_a_job_that_has_not_failed_is_not_tried_again(serve: Any, runpod: Any, state: str) -> None:
    pool(runpod)
    async with serve() as client:
        accepted = (await client.post("/v1/jobs", json=BODY)).json()
        (job,) = runpod.jobs.values()
        job.update(status=state)
        answer = await client.post(accepted["links"]["retry"])
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_request")
    assert state in answer.json()["detail"]
    assert runpod.calls["retry"] == 0


@pytest.mark.parametrize("suffix", ["", "/events", "/logs"])
async def test_another_keys_job_does_not_exist(serve: Any, runpod: Any, suffix: str) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        before = runpod.calls.copy()
        other = {"Authorization": "Bearer rpa_SOMEBODYELSE00000000000000000"}
        answers = [await client.get(f"/v1/jobs/{job}{suffix}", headers=other) for job in (job_id, "job_a_b_c")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert runpod.calls == before


async def test_a_job_that_runpod_forgot_is_not_found(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = (await client.post("/v1/jobs", json=BODY)).json()["job_id"]
        runpod.jobs.clear()
        answer = await client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_upstream_clients_need_not_change(serve: Any, runpod: Any) -> None:
    endpoint = pool(runpod)
    body = {
        "hf_model_id": MODEL,
        "user_runpod_key": KEY,
        "gpu_tier": "ADA_24",
        "region": None,
        "task": "text_to_image",
        "hf_token": "hf_CANARYTOKEN00000000000",
        "input": {"prompt": "a red fox"},
    }
    async with serve() as client:
        del client.headers["Authorization"]
        answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["endpoint_id"] == endpoint


async def test_a_dead_runpod_is_one_clear_problem(serve: Any, runpod: Any) -> None:
    runpod.answers["list_endpoints"] = httpx.ConnectError("connection refused")
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=BODY)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "runpod_unreachable"
    assert "list" in answer.json()["detail"].lower()
    assert KEY not in answer.text
