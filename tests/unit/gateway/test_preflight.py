"""Looking before anything is made: the routes, and what is refused, against a real hub application."""

import asyncio
from typing import Any

import pytest

from pulumi_visgate.gateway.settings import OfferedModel, Volume
from pulumi_visgate.local.hub import testing

MODEL = "visgate/tiny-sd"
TOKEN = "hf_CANARYTOKEN0000000000000001"
LARGE = "acme/large"
BODY = {"model": LARGE}
JOB = {"model": LARGE, "input": {"prompt": "a red fox"}}
ANY = {"allow_unlisted_models": True}


def checks(answer: Any) -> dict[str, Any]:
    return {check["name"]: check for check in answer.json()["checks"]}


async def test_a_good_request_is_told_everything_and_makes_nothing(serve: Any, runpod: Any, hub: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.1, EU_RO_1="HIGH", EU_CZ_1="LOW")
    runpod.offer_gpu("AMPERE_48", 48, 1.22, EU_RO_1="MEDIUM")
    commit = hub.commit(LARGE, testing.model(300_000))
    async with serve(**ANY) as client:
        answer = await client.post("/v1/preflight", json=JOB)
    found = answer.json()
    assert (answer.status_code, found["ok"]) == (200, True), answer.text
    assert (found["commit"], found["pipeline"]) == (commit, "StableDiffusionPipeline")
    assert (found["family"], found["tasks"]) == ("stable-diffusion", ["image2img", "inpaint", "text2img"])
    assert [pool["gpu_pool"] for pool in found["gpu_pools"]] == ["ADA_24", "AMPERE_48"]
    assert {pool["fit"] for pool in found["gpu_pools"]} == {"whole"}
    assert found["gpu_pools"][0]["gpus"] == [{"gpu_type": "NVIDIA ADA_24", "memory_gb": 24, "usd_per_hour": 1.1}]
    assert found["memory"]["whole_gib"] == pytest.approx(5.2, abs=0.1)
    assert found["disk"] == {"needed_gb": 5.0, "available_gb": 40}
    assert found["cost"]["max_job_usd"] == pytest.approx(1.22 * (900 + 60) / 3600, abs=1e-5)
    assert (found["placement"]["data_center_id"], found["placement"]["gpu_pool"]) == ("EU-RO-1", "ADA_24")
    assert {name: check["outcome"] for name, check in checks(answer).items()} == dict.fromkeys(
        ["model", "token", "format", "task", "memory", "disk"], "ok"
    )
    assert found["endpoint_id"] is None
    assert set(runpod.calls) == {"list_endpoints", "list_gpu_types"}


async def test_an_endpoint_that_would_serve_is_named(serve: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    async with serve(**ANY) as client:
        made = (await client.post("/v1/deployments", json=BODY)).json()["endpoint_id"]
        assert (await client.post("/v1/preflight", json=BODY)).json()["endpoint_id"] == made


def without_safetensors() -> dict[str, bytes]:
    return {path: data for path, data in testing.model().items() if not path.startswith("vae/")} | {
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.bin": b"b" * 70_000,
    }


@pytest.mark.parametrize(
    ("files", "task", "status", "code", "said"),
    [
        (without_safetensors(), "text2img", 422, "model_not_supported", "vae has no safetensors"),
        ({"config.json": b"{}"}, "text2img", 422, "model_not_supported", "has no model_index.json"),
        ({"model_index.json": b"[1]"}, "text2img", 422, "model_not_supported", "not a JSON object"),
        ({"model_index.json": b'{"a": 1}'}, "text2img", 422, "model_not_supported", "no `_class_name`"),
        (testing.model(), "text2video", 422, "task_not_supported", "cannot do text2video"),
        (
            {"model_index.json": b'{"_class_name": ["own", "OwnPipeline"]}', "own.py": b""},
            "text2img",
            422,
            "model_not_supported",
            "code of its own",
        ),
    ],
)
async def test_what_cannot_run_is_refused_before_anything_is_made(
    serve: Any, runpod: Any, hub: Any, *, files: dict[str, bytes], task: str, status: int, code: str, said: str
) -> None:
    hub.commit(LARGE, files)
    async with serve(**ANY) as client:
        looked = await client.post("/v1/preflight", json={**BODY, "task": task})
        refused = [
            await client.post("/v1/deployments", json={**BODY, "task": task}),
            await client.post("/v1/jobs", json={**JOB, "task": task, "input": {"task": task, "prompt": "a fox"}}),
        ]
    assert (looked.status_code, looked.json()["ok"]) == (200, False)
    (failed,) = [check for check in looked.json()["checks"] if check["outcome"] == "failed"]
    assert said in failed["detail"]
    assert failed["code"] == code
    assert failed["hint"]
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert said in answer.json()["detail"]
        assert answer.json()["hint"] == failed["hint"]
        assert answer.json()["errors"] == [{"field": failed["field"], "detail": failed["detail"]}]
    assert runpod.calls["create_endpoint"] == runpod.calls["run"] == 0


async def test_pickles_are_taken_where_the_platform_allows_them(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(LARGE, without_safetensors())
    async with serve(**ANY, allow_pickles=True) as client:
        assert (await client.post("/v1/deployments", json=BODY)).status_code == 202
        looked = await client.post("/v1/preflight", json=BODY)
    assert "pickles, which this platform allows" in checks(looked)["format"]["detail"]


@pytest.mark.parametrize(
    ("token", "said", "hint"),
    [
        (None, "has no token", "send a token of that account as X-HF-Token"),
        ("hf_CANARYOTHER000000000000001", "does not open it", "with the account of the token"),
    ],
)
async def test_a_gated_model_needs_a_token_that_opens_it(
    serve: Any, runpod: Any, hub: Any, *, token: str | None, said: str, hint: str
) -> None:
    hub.commit(LARGE, testing.model())
    hub.gate(LARGE, TOKEN)
    headers = {"X-HF-Token": token} if token else {}
    async with serve(**ANY) as client:
        opened = await client.post("/v1/preflight", json=BODY, headers={"X-HF-Token": TOKEN})
        looked = await client.post("/v1/preflight", json=BODY, headers=headers)  # another's token opened it before
        refused = await client.post("/v1/jobs", json=JOB, headers=headers)
    assert (opened.json()["ok"], opened.json()["gated"]) == (True, True)
    assert (looked.json()["ok"], looked.json()["pipeline"]) == (False, None)
    assert (refused.status_code, refused.json()["code"]) == (403, "model_gated")
    assert refused.json()["title"] == "Model is gated"
    assert said in refused.json()["detail"]
    assert hint in refused.json()["hint"]
    assert refused.json()["errors"][0]["field"] == "X-HF-Token"
    assert "CANARY" not in refused.text
    assert runpod.calls["create_endpoint"] == 0


async def test_a_token_that_the_hub_does_not_know_is_told_apart(serve: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    hub.access.tokens = {"hf_another"}
    async with serve(**ANY) as client:
        refused = await client.post("/v1/jobs", json=JOB, headers={"X-HF-Token": TOKEN})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert "does not accept the given token" in refused.json()["detail"]


async def test_a_model_that_is_too_large_says_what_would_hold_it(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    job = {**JOB, "input": {"prompt": "a red fox", "width": 2048, "height": 2048}}
    async with serve(**ANY, gpu_pools=("AMPERE_16",)) as client:
        refused = await client.post("/v1/jobs", json=job)
        smaller = await client.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (422, "model_too_large")
    assert "the GPUs it may run on have 16 GB at most" in refused.json()["detail"]
    assert "Ask for a smaller picture" in refused.json()["hint"]
    assert smaller.status_code == 202


async def test_only_the_pools_that_hold_a_model_are_taken(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    job = {**JOB, "input": {"prompt": "a red fox", "width": 2048, "height": 2048}}
    async with serve(**ANY, gpu_pools=("AMPERE_16", "AMPERE_48")) as client:
        assert (await client.post("/v1/jobs", json=job)).status_code == 202
    assert runpod.bodies["create_endpoint"][0]["gpu"] == {"pools": ["AMPERE_48"]}


async def test_a_disk_that_is_too_small_is_told(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    async with serve(**ANY, container_disk_gb=4) as client:
        refused = await client.post("/v1/deployments", json=BODY)
    assert (refused.status_code, refused.json()["code"]) == (422, "model_too_large")
    assert "workers here have 4 GB" in refused.json()["detail"]


async def test_models_that_are_not_there_or_not_offered_are_told_apart(serve: Any, hub: Any) -> None:
    async with serve(**ANY) as client:
        missing = await client.post("/v1/preflight", json=BODY)
        refused = await client.post("/v1/deployments", json=BODY)
    assert "not on the hub" in checks(missing)["model"]["detail"]
    assert (refused.status_code, refused.json()["code"]) == (404, "model_not_found")
    hub.commit(LARGE, testing.model())
    async with serve() as client:
        closed = await client.post("/v1/preflight", json=BODY)
        wrong_task = await client.post("/v1/preflight", json={"model": MODEL, "task": "text2video"})
    assert checks(closed)["model"]["code"] == "model_not_found"
    assert "does not offer" in checks(closed)["model"]["detail"]
    assert checks(wrong_task)["task"]["code"] == "task_not_supported"


@pytest.mark.parametrize("fault", ["silent", "hang"])
async def test_a_hub_that_is_away_stops_only_what_needs_it(serve: Any, runpod: Any, hub: Any, fault: str) -> None:
    hub.commit(LARGE, testing.model())
    if fault == "silent":
        hub.faults.silent = (503, 100)
    else:
        hub.faults.hang_s = 60
    async with serve(**ANY, hub_timeout_s=0.2) as client:
        offered = await client.post("/v1/deployments", json={"model": MODEL})
        refused = await client.post("/v1/deployments", json=BODY)
    assert offered.status_code == 202  # the platform vouches for it
    assert (refused.status_code, refused.json()["code"]) == (502, "hub_unreachable")
    assert refused.json()["title"] == "Model hub failed"
    assert runpod.calls["create_endpoint"] == 1


async def test_a_model_on_a_volume_needs_no_hub(serve: Any, runpod: Any, hub: Any) -> None:
    model = OfferedModel(model_id="acme/own", network_volume_ids=("vol1",))
    places = (Volume(id="vol1", data_center_id="EU-CZ-1"),)
    settings = {"models": (model,), "network_volumes": places, "data_center_ids": ("EU-CZ-1",)}
    async with serve(**settings) as client:
        assert (await client.post("/v1/jobs", json={**JOB, "model": "acme/own"})).status_code == 202
        looked = await client.post("/v1/preflight", json={"model": "acme/own"})
    (body,) = runpod.bodies["create_endpoint"]
    assert (body["networkVolumes"], body["dataCenterIds"]) == (["vol1"], ["EU-CZ-1"])
    assert "HF_ENDPOINT" not in body["env"]
    assert looked.json()["ok"]
    assert checks(looked)["model"]["outcome"] == "unknown"


async def test_what_comes_from_the_hub_is_pinned_to_the_commit_that_was_looked_at(
    serve: Any, runpod: Any, hub: Any
) -> None:
    commit = hub.commit(LARGE, testing.model())
    async with serve(**ANY) as client:
        await client.post("/v1/deployments", json=BODY)
    env = runpod.bodies["create_endpoint"][0]["env"]
    assert (env["VISGATE_MODEL_REVISION"], env["HF_ENDPOINT"]) == (commit, "http://hub.test:1")


async def test_a_warm_hit_asks_neither_hub_nor_catalog(serve: Any, runpod: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    async with serve(**ANY) as client:
        await client.post("/v1/jobs", json=JOB)
        hub.reset()
        runpod.calls.clear()
        await client.post("/v1/jobs", json=JOB, headers={"CloudFront-Viewer-Country": "DE"})
    assert not hub.requests
    assert set(runpod.calls) <= {"list_endpoints", "run", "health"}
    assert runpod.calls["list_gpu_types"] == 0


async def test_many_at_once_ask_the_hub_once(serve: Any, hub: Any) -> None:
    hub.commit(LARGE, testing.model())
    async with serve(**ANY) as client:
        answers = await asyncio.gather(*(client.post("/v1/preflight", json=BODY) for _ in range(20)))
        assert {answer.json()["ok"] for answer in answers} == {True}
        asked = hub.requests.copy()
        await client.post("/v1/preflight", json=BODY)
    assert asked["metadata"] == 1
    assert hub.requests == asked  # nothing again within a minute
