"""Looking, warming up and restoring on the stack that `make up` brings up: real gateway, pool, worker and hub."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import Endpoint, EndpointWorkers, UpdateEndpoint
from visgate_contract.events import Event, Status

MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox", "width": 64, "height": 64, "steps": 1}}


@pytest.fixture
def gateway(local_stack: Any) -> Iterator[httpx.Client]:
    stack, _ = local_stack
    url = json.loads(stack.pulumi("stack", "output", "--json", "--stack", "local").stdout)["gateway_url"]
    headers = {"Authorization": f"Bearer {stack.key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def runpod(local_stack: Any) -> Iterator[RunpodClient]:
    stack, _ = local_stack
    told = stack.cloud()
    with RunpodClient(stack.key, base_url=told["RUNPOD_API_URL"], jobs_url=told["RUNPOD_JOBS_URL"]) as client:
        yield client


def followed(gateway: httpx.Client, job_id: str) -> Event:
    """The last event of a job."""
    with httpx_sse.connect_sse(gateway, "GET", f"/v1/jobs/{job_id}/events") as stream:
        told = [sse.data for sse in stream.iter_sse() if sse.event != "waiting"]
    return Event.model_validate_json(told[-1])


def until_idle_timeout(runpod: RunpodClient, endpoint_id: str, seconds: int) -> Endpoint:
    """The endpoint, once idle workers leave after so long."""
    attempts = Retrying(
        retry=retry_if_result(lambda found: found.workers.idle_timeout != seconds),
        stop=stop_after_delay(60),
        wait=wait_fixed(0.1),
    )
    found: Endpoint = attempts(runpod.get_endpoint, endpoint_id)
    return found


def test_the_local_hub_tells_what_the_local_model_needs(local_stack: Any, gateway: httpx.Client) -> None:
    stack, _ = local_stack
    found = gateway.post("/v1/preflight", json=JOB).json()
    assert found["ok"], found
    assert (found["pipeline"], found["family"]) == ("StableDiffusionPipeline", "stable-diffusion")
    assert found["commit"]
    assert found["endpoint_id"]
    assert found["placement"]["network_volume_id"]
    info = httpx.get(f"{stack.cloud()['HF_ENDPOINT']}/api/models/{MODEL}", trust_env=False).json()
    assert info["sha"] == found["commit"]
    best = gateway.get("/v1/placements", params={"model": MODEL}).json()["placements"][0]
    assert (best["data_center_id"], best["gpu_pool"]) == ("EU-RO-1", "ADA_24")
    assert best["reasons"][0]["term"] == "cache"


def test_a_pool_that_runpod_put_to_sleep_is_woken_warmed_up_and_left_as_it_was(
    gateway: httpx.Client, runpod: RunpodClient
) -> None:
    (pool,) = runpod.list_endpoints()
    before = pool.workers
    runpod.update_endpoint(pool.id, UpdateEndpoint(workers=EndpointWorkers(min=0, max=0)))

    warm_up = gateway.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 300}).json()
    assert warm_up["endpoint_id"] == pool.id
    kept = runpod.get_endpoint(pool.id).workers
    assert (kept.max, kept.idle_timeout) == (before.max, 300)
    ready = followed(gateway, warm_up["job_id"]).data
    assert (ready.status, ready.artifacts) == (Status.READY, ())
    assert ready.load is not None

    job = gateway.post("/v1/jobs", json=JOB).json()
    assert job["status"] == "warm_ready"
    drawn = followed(gateway, job["job_id"]).data
    assert drawn.load is not None
    assert (drawn.status, drawn.load.source) == (Status.READY, "memory")
    again = gateway.post("/v1/jobs", json=JOB).json()
    assert again["expected"]["samples"] >= 1

    # Whatever ends the worker early, the endpoint is left as it was.
    runpod.update_endpoint(pool.id, UpdateEndpoint(workers=EndpointWorkers(min=0, max=0)))
    asleep = until_idle_timeout(runpod, pool.id, before.idle_timeout or 0)
    assert asleep.workers.max == 0
    gateway.get("/v1/deployments")  # a list that was trusted may be seconds old
    assert gateway.post("/v1/deployments", json={"model": MODEL}).json()["endpoint_id"] == pool.id
    assert runpod.get_endpoint(pool.id).workers == before
