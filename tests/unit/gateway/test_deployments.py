import asyncio
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.settings import OfferedModel
from pulumi_visgate.local.hub import testing
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
TOKEN = "hf_CANARYTOKEN0000000000000001"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
MODEL = "visgate/tiny-sd"
SECRET = derive_webhook_secret(SIGNING_KEY, user_hash(KEY))
BODY = {"model": MODEL}
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}


async def test_nothing_there_is_made_and_then_found(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        cold = await client.post("/v1/deployments", json=BODY)
        endpoint = cold.json()["endpoint_id"]
        runpod.start_worker(endpoint)
        warm = await client.post("/v1/deployments", json=BODY)
    assert (cold.status_code, cold.json()["status"]) == (202, "accepted_cold")
    assert (warm.status_code, warm.json()["status"]) == (200, "warm_ready")
    assert warm.json()["endpoint_id"] == endpoint
    assert warm.json()["endpoint_url"] == f"http://jobs.test/v2/{endpoint}"
    assert runpod.calls["create_endpoint"] == 1


async def test_a_new_endpoint_is_what_the_settings_say(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(MODEL, testing.model(seed=2), "abc123")
    model = OfferedModel(model_id=MODEL, revision="abc123")
    async with serve(models=(model,), workers_max=5, watchdog_action="delete") as client:
        assert (await client.post("/v1/deployments", json=BODY)).status_code == 202
    (body,) = runpod.bodies["create_endpoint"]
    name = EndpointName.parse(body["name"])
    assert name is not None
    assert name.serves(user_hash=user_hash(KEY), model_id=MODEL, task=Task.TEXT2IMG)
    assert name.policy is PoolPolicy.ON_DEMAND
    assert body["image"] == "visgate-worker:test"
    assert body["gpu"] == {"pools": ["ADA_24", "AMPERE_48"]}
    assert body["dataCenterIds"] == ["EU-RO-1", "EU-CZ-1", "US-TX-3"]
    assert body["workers"] == {"min": 0, "max": 5, "idleTimeout": 60}
    assert body["env"]["VISGATE_MODEL_ID"] == MODEL
    assert body["env"]["VISGATE_MODEL_REVISION"] == "abc123"
    assert body["env"]["VISGATE_WEBHOOK_SECRET"] == SECRET
    assert body["env"]["VISGATE_WATCHDOG_ACTION"] == "delete"
    assert "HF_TOKEN" not in body["env"]


async def test_the_hf_token_goes_only_where_the_hub_is_needed(serve: Any, runpod: Any) -> None:
    model = OfferedModel(model_id=MODEL, network_volume_ids=("vol1", "vol2", "stranger"))
    headers = {"X-HF-Token": TOKEN}
    runpod.volumes = [
        {"id": "vol1", "name": "a", "size": 10, "dataCenter": "EU-CZ-1", "type": "STANDARD"},
        {"id": "vol2", "name": "b", "size": 10, "dataCenter": "US-TX-3", "type": "STANDARD"},
    ]
    async with serve(models=(model,)) as client:
        await client.post("/v1/deployments", json=BODY, headers=headers)
        await client.post("/v1/deployments", json={**BODY, "region": "EU-RO-1"}, headers=headers)
    mounted, hub = runpod.bodies["create_endpoint"]
    assert (mounted["networkVolumes"], mounted["dataCenterIds"]) == (["vol1", "vol2"], ["EU-CZ-1", "US-TX-3"])
    assert "HF_TOKEN" not in mounted["env"]
    assert (hub["networkVolumes"], hub["dataCenterIds"]) == ([], ["EU-RO-1"])
    assert hub["env"]["HF_TOKEN"] == TOKEN


async def test_equal_requests_at_once_make_one_endpoint(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        answers = await asyncio.gather(*(client.post("/v1/jobs", json=JOB) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["endpoint_id"] for answer in answers}) == 1
    assert runpod.calls["create_endpoint"] == 1
    assert runpod.calls["run"] == 8


async def test_two_processes_at_once_keep_one_endpoint(serve: Any, runpod: Any) -> None:
    """Both have listed nothing before either creates: the worst order."""
    both_listed = asyncio.Barrier(2)
    handle = runpod.handle

    async def in_step(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path == "/v2/serverless":
            await both_listed.wait()
        answer: httpx.Response = await handle(request)
        return answer

    runpod.handle = in_step
    async with serve() as one, serve() as other:
        async with asyncio.timeout(10):
            answers = await asyncio.gather(one.post("/v1/jobs", json=JOB), other.post("/v1/jobs", json=JOB))
    assert [answer.status_code for answer in answers] == [202, 202]
    (left,) = runpod.endpoints
    assert {answer.json()["endpoint_id"] for answer in answers} == {left}
    assert runpod.calls["delete_endpoint"] == 1


async def test_a_cold_request_makes_four_calls(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        assert (await client.post("/v1/jobs", json=JOB)).json()["status"] == "accepted_cold"
    assert runpod.calls == {"list_endpoints": 2, "create_endpoint": 1, "run": 1}


async def test_a_cold_request_for_a_model_on_a_volume_makes_one_more(serve: Any, runpod: Any) -> None:
    model = OfferedModel(model_id=MODEL, network_volume_ids=("vol1",))
    async with serve(models=(model,)) as client:
        await client.post("/v1/jobs", json=JOB)
    assert runpod.calls == {"list_endpoints": 2, "list_volumes": 1, "create_endpoint": 1, "run": 1}


async def test_a_lost_answer_is_found_by_the_next_request(serve: Any, runpod: Any) -> None:
    async def lose(request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = await handle(request)
        if request.method == "POST" and runpod.calls["create_endpoint"] == 1 and request.url.host == "api.test":
            message = "the connection broke"
            raise httpx.ReadError(message)
        return answer

    handle, runpod.handle = runpod.handle, lose
    async with serve(list_ttl_s=60) as client:
        first = await client.post("/v1/jobs", json=JOB)
        second = await client.post("/v1/jobs", json=JOB)
    assert (first.status_code, second.status_code) == (502, 202)
    assert list(runpod.endpoints) == [second.json()["endpoint_id"]]


async def test_own_endpoints_are_listed_and_deleted(serve: Any, runpod: Any) -> None:
    runpod.add(
        {
            "name": "somebody-elses",
            "workers": {"min": 0, "max": 1},
            "scaling": {"type": "REQUEST_COUNT", "requestCount": 1},
        }
    )
    async with serve(list_ttl_s=60) as client:
        made = (await client.post("/v1/deployments", json=BODY)).json()["deployment_id"]
        (shown,) = (await client.get("/v1/deployments")).json()["deployments"]
        deleted = await client.delete(f"/v1/deployments/{made}")
        again = await client.delete(f"/v1/deployments/{made}")
        left = (await client.get("/v1/deployments")).json()["deployments"]
    assert (shown["deployment_id"], shown["model"], shown["managed_by"]) == (made, MODEL, "gateway")
    assert (deleted.status_code, again.status_code) == (204, 404)
    assert left == []
    assert list(runpod.endpoints) == ["ep1"]


async def test_a_pulumi_pool_is_left_to_pulumi(serve: Any, runpod: Any) -> None:
    name = EndpointName.build(
        user_hash=user_hash(KEY), model_id=MODEL, task=Task.TEXT2IMG, policy=PoolPolicy.ALWAYS_ON, spec={}
    )
    pool = runpod.add(
        {
            "name": str(name),
            "env": {"VISGATE_MODEL_ID": MODEL, "VISGATE_WEBHOOK_SECRET": SECRET},
            "workers": {"min": 1, "max": 1},
            "scaling": {"type": "REQUEST_COUNT", "requestCount": 1},
        }
    )
    async with serve() as client:
        answer = await client.delete(f"/v1/deployments/{pool['id']}")
    assert answer.status_code == 409
    assert "pulumi up" in answer.json()["hint"]
    assert pool["id"] in runpod.endpoints


@pytest.mark.parametrize(
    ("status", "detail", "expected"),
    [
        (401, "invalid key", (401, "unauthorized")),
        (402, "insufficient funds", (402, "runpod_refused")),
        (403, "forbidden", (403, "runpod_refused")),
        (429, "slow down", (429, "rate_limited")),
        (400, "There are no longer any instances available with the requested specifications", (503, "no_capacity")),
        (400, "unknown data center", (502, "runpod_refused")),
        (422, "additional properties not allowed", (502, "runpod_refused")),
        (500, "oops", (502, "runpod_unreachable")),
    ],
)
async def test_what_runpod_refuses_is_told(
    serve: Any, runpod: Any, status: int, detail: str, expected: tuple[int, str]
) -> None:
    body = {"title": "Error", "status": status, "detail": f"{detail} {KEY}"}
    runpod.answers["create_endpoint"] = httpx.Response(status, headers={"Retry-After": "77"}, json=body)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=JOB)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == expected, problem
    assert problem["hint"]
    assert KEY not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 429)
    assert runpod.endpoints == {}


async def test_slow_runpod_meets_one_deadline(serve: Any, runpod: Any) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    runpod.handle = hang
    async with serve(deadline_s=0.05) as client:
        answer = await client.post("/v1/jobs", json=JOB)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"region": "MOON-1"}, "region", "invalid_request"),
        ({"gpu_pool": "H999"}, "gpu_pool", "invalid_request"),
        ({"model": "not a model"}, "model", "invalid_request"),
        ({"model": "nobody/offers-this"}, "model", "model_not_found"),
        ({"task": "text2video"}, "task", "task_not_supported"),
        ({"task": "sing"}, "task", "task_not_supported"),
        ({"bogus": 1}, "bogus", "invalid_request"),
    ],
)
async def test_wrong_input_names_the_field(
    serve: Any, runpod: Any, change: dict[str, Any], field: str, code: str
) -> None:
    async with serve() as client:
        answer = await client.post("/v1/deployments", json={**BODY, **change})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (404 if code == "model_not_found" else 422, code)
    assert field in problem["detail"]
    assert problem["hint"]
    assert runpod.calls["create_endpoint"] == 0


async def test_any_model_when_the_platform_allows_it(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit("some/model", testing.model())
    async with serve(allow_unlisted_models=True, models=()) as client:
        answer = await client.post("/v1/deployments", json={"model": "some/model"})
    assert answer.status_code == 202
    assert runpod.bodies["create_endpoint"][0]["env"]["VISGATE_MODEL_ID"] == "some/model"


async def test_an_endpoint_of_older_settings_is_not_used(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        old = (await client.post("/v1/deployments", json=BODY)).json()["endpoint_id"]
    async with serve(image="visgate-worker:newer") as client:
        new = (await client.post("/v1/deployments", json=BODY)).json()["endpoint_id"]
    assert old != new


async def test_an_endpoint_that_signs_with_another_secret_is_not_used(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        old = (await client.post("/v1/deployments", json=BODY)).json()["endpoint_id"]
    async with serve(signing_key="another-signing-key-0123456789abc") as client:
        new = (await client.post("/v1/deployments", json=BODY)).json()["endpoint_id"]
    assert old != new
