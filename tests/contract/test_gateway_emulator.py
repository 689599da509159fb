"""The gateway as its own process, against the emulated Runpod and a worker that speaks through Runpod's SDK."""

import re
import signal
import threading
from queue import Queue
from typing import Any

import httpx
import httpx_sse
import pytest
from standardwebhooks.webhooks import Webhook

from pulumi_visgate.local.hub import testing
from tests.s3 import S3_SECRET
from visgate_contract.events import Event, Status

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
SIGNING_KEY = "signing-key-canary-of-the-contract-tests"
TOKEN = "hf_CANARYTOKENOFTHECONTRACTTESTS"


def test_from_cold_to_warm_with_events_logs_and_webhook(
    start_gateway: Any, runpod_emulator: Any, receiver: tuple[str, Queue[tuple[dict[str, str], bytes]]]
) -> None:
    url, received = receiver
    gateway, key = start_gateway(), runpod_emulator.key
    body = {"model": MODEL, "input": {"prompt": "a red fox"}, "webhook_url": url}
    with gateway.client(key) as client:
        cold = client.post("/v1/jobs", json=body)
        assert cold.status_code == 202, cold.text
        assert cold.json()["status"] == "accepted_cold"
        secret = client.get("/v1/webhooks/key").json()["secret"]
        headers, content = received.get(timeout=20)
        Webhook(secret).verify(content, headers)
        assert Event.model_validate_json(content).data.status is Status.PROVISIONING

        job_id = cold.json()["job_id"]
        events = gateway.follow(client, job_id)
        assert events[0].data.status is Status.PROVISIONING
        assert events[-1].data.status is Status.READY
        assert [event.data.sequence for event in events] == sorted({event.data.sequence for event in events})
        assert {event.data.job_id for event in events} == {job_id}
        shown = client.get(f"/v1/jobs/{job_id}").json()
        assert (shown["status"], shown["runpod_status"]) == ("ready", "COMPLETED")

        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/logs") as stream:
            stream.response.raise_for_status()
            logged = [sse.data for sse in stream.iter_sse()]
        assert any("prompt: a red fox" in line for line in logged)
        assert any("webhook secret: [masked]" in line for line in logged)
        assert any("token: [masked]" in line for line in logged)

        warm = client.post("/v1/jobs", json=body).json()
        ready = client.post("/v1/deployments", json={"model": MODEL})
        (deployment,) = client.get("/v1/deployments").json()["deployments"]
        assert (warm["status"], ready.status_code) == ("warm_ready", 200)
        assert deployment["endpoint_id"] == ready.json()["endpoint_id"]
        assert client.delete(f"/v1/deployments/{deployment['deployment_id']}").status_code == 204
        assert client.get("/v1/deployments").json() == {"deployments": []}
    gateway.close()
    log = gateway.log.getvalue()
    assert "POST /v1/jobs" in log
    for canary in (key, TOKEN, secret, SIGNING_KEY, S3_SECRET):
        assert canary not in log
        assert canary not in "".join(logged)


def test_a_job_outlives_the_gateway_that_took_it(start_gateway: Any, runpod_emulator: Any) -> None:
    first, key = start_gateway(), runpod_emulator.key
    with first.client(key) as client:
        accepted = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "a red fox"}}).json()
    first.kill()
    successor = start_gateway()
    with successor.client(key) as client:
        events = successor.follow(client, accepted["job_id"])
    assert events[-1].data.status is Status.READY
    assert events[0].data.task_id == accepted["task_id"]


def test_a_running_job_is_cancelled_and_its_stream_ends(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway()
    with gateway.client(runpod_emulator.key) as client, gateway.client(runpod_emulator.key) as other:
        job_id = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "wait"}}).json()["job_id"]
        events = []
        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            for sse in stream.iter_sse():
                if not sse.event.startswith("job."):
                    continue
                events.append(Event.model_validate_json(sse.data))
                if events[-1].data.status is Status.STARTED:
                    assert other.post(f"/v1/jobs/{job_id}/cancel").json()["error"]["code"] == "cancelled"
    last = events[-1].data
    assert last.error is not None
    assert (last.status, last.error.code) == (Status.FAILED, "cancelled")


def test_an_ending_gateway_ends_its_streams_first(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway()
    with gateway.client(runpod_emulator.key) as client:
        accepted = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "wait"}}).json()
        seen = []
        with httpx_sse.connect_sse(client, "GET", f"/v1/endpoints/{accepted['endpoint_id']}/logs") as stream:
            for sse in stream.iter_sse():  # a stream that is cut off would raise here
                seen.append(sse.event)
                if len(seen) == 1:
                    gateway.process.terminate()
    assert set(seen) == {"log"}
    assert gateway.process.wait(20) == -signal.SIGTERM  # uvicorn ends by the signal that it was sent
    gateway.close()
    assert "Traceback" not in gateway.log.getvalue()


def test_equal_requests_to_two_gateways_leave_one_endpoint(start_gateway: Any, runpod_emulator: Any) -> None:
    gateways, key = (start_gateway(), start_gateway()), runpod_emulator.key
    runpod_emulator.set_latency(100)
    body = {"model": MODEL, "input": {"prompt": "a red fox"}}
    answers: Queue[httpx.Response] = Queue()

    def post(gateway: Any) -> None:
        with gateway.client(key) as client:
            answers.put(client.post("/v1/jobs", json=body))

    threads = [threading.Thread(target=post, args=(gateway,)) for gateway in gateways for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = [answers.get_nowait() for _ in threads]
    assert [answer.status_code for answer in found] == [202] * 4, [answer.text for answer in found]
    assert len({answer.json()["endpoint_id"] for answer in found}) == 1
    with gateways[0].client(key) as client:
        assert len(client.get("/v1/deployments").json()["deployments"]) == 1


def test_an_endpoint_that_runpod_scaled_down_is_restored(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, body = start_gateway(), {"model": MODEL, "input": {"prompt": "a red fox"}}
    with gateway.client(runpod_emulator.key) as client:
        endpoint = client.post("/v1/deployments", json={"model": MODEL}).json()["endpoint_id"]
        runpod_emulator.make_inactive(endpoint, 7)
        (before,) = client.get("/v1/deployments").json()["deployments"]
        accepted = client.post("/v1/jobs", json=body).json()
        (after,) = client.get("/v1/deployments").json()["deployments"]
        assert gateway.follow(client, accepted["job_id"])[-1].data.status is Status.READY
    assert (before["workers_max"], after["workers_max"]) == (0, 3)
    assert accepted["endpoint_id"] == endpoint


PLATFORM = {
    "GPU_POOLS": '["ADA_24", "AMPERE_48"]',
    "DATA_CENTER_IDS": '["EU-RO-1", "EU-CZ-1", "US-TX-3"]',
    "ALLOW_UNLISTED_MODELS": "true",
}


def test_a_request_is_looked_at_before_anything_is_made(start_gateway: Any, runpod_emulator: Any, hub: Any) -> None:
    gateway = start_gateway(**PLATFORM)
    index = b'{"_class_name": "WanPipeline", "vae": ["diffusers", "AutoencoderKLWan"]}'
    hub.commit("acme/film", testing.model() | {"model_index.json": index})
    hub.commit("acme/gated", testing.model())
    hub.gate("acme/gated", "hf_another")
    with gateway.client(runpod_emulator.key) as client:
        looked = client.post("/v1/preflight", json={"model": MODEL, "input": {"prompt": "a red fox"}})
        refused = [
            client.post("/v1/jobs", json={"model": model, "input": {"prompt": "a red fox"}}).json()
            for model in ("acme/film", "acme/gated", "acme/nothing")
        ]
        assert client.get("/v1/deployments").json() == {"deployments": []}
    found = looked.json()
    assert (looked.status_code, found["ok"]) == (200, True), looked.text
    assert {pool["gpu_pool"]: pool["memory_gb"] for pool in found["gpu_pools"]} == {"ADA_24": 24, "AMPERE_48": 48}
    assert found["cost"]["usd_per_hour"] == 1.22
    codes = [problem["code"] for problem in refused]
    assert codes == ["task_not_supported", "model_gated", "model_not_found"]
    assert TOKEN not in looked.text


def test_workers_start_near_the_caller_where_there_is_stock(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway(**PLATFORM)
    runpod_emulator.set_stock("ADA_24", "EU-CZ-1", "NONE")
    runpod_emulator.set_stock("AMPERE_48", "EU-CZ-1", "NONE")
    headers = {"CloudFront-Viewer-Country": "DE"}
    with gateway.client(runpod_emulator.key) as client:
        found = client.get("/v1/placements", params={"model": MODEL}, headers=headers).json()["placements"]
        accepted = client.post(
            "/v1/jobs", json={"model": MODEL, "input": {"prompt": "a red fox"}}, headers=headers
        ).json()
        gateway.follow(client, accepted["job_id"])
        (deployment,) = client.get("/v1/deployments").json()["deployments"]
    assert found[0]["data_center_id"] == "EU-RO-1"
    assert {place["data_center_id"] for place in found if not place["possible"]} == {"EU-CZ-1"}
    assert deployment["data_center_ids"] == ["EU-RO-1"]


def test_a_budget_is_held_with_the_prices_and_the_bill_of_the_account(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway(MAX_JOB_USD="0.31", MAX_KEY_USD_PER_DAY="0.3")
    body = {"model": MODEL, "input": {"prompt": "a red fox"}}
    with gateway.client(runpod_emulator.key) as client:
        dear = client.post("/v1/jobs", json={**body, "max_cost_usd": 0.2}).json()
        accepted = client.post("/v1/jobs", json=body).json()
        gateway.follow(client, accepted["job_id"])
    assert (dear["status"], dear["code"]) == (402, "budget_exceeded")
    assert "$0.2933" in dear["detail"]  # $1.10 an hour for 900 s of running and 60 s of idling
    runpod_emulator.advance(60)  # the worker was idle for its minute, and the bill has it
    successor = start_gateway(MAX_KEY_USD_PER_DAY="0.3")
    with successor.client(runpod_emulator.key) as client:
        spent = client.post("/v1/jobs", json=body).json()
    assert (spent["status"], spent["code"]) == (402, "budget_exceeded")
    assert re.search(r"has spent \$0\.0\d+ on serverless endpoints today", spent["detail"]), spent["detail"]


def test_a_dead_runpod_is_one_clear_problem(start_gateway: Any) -> None:
    gateway = start_gateway(RUNPOD_API_URL="http://127.0.0.1:9")
    with gateway.client("rpa_CANARYKEYOFADEADRUNPOD0000") as client:
        answer = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (502, "runpod_unreachable")
    assert answer.json()["hint"]
    assert "CANARY" not in answer.text
