"""Where endpoints are made, and what is tried next."""

from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.settings import OfferedModel, Volume

MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}
GERMANY = {"CloudFront-Viewer-Country": "DE"}
TEXAS = {"CloudFront-Viewer-Latitude": "31.5", "CloudFront-Viewer-Longitude": "-99.3"}
REGIONS = ("EU-RO-1", "EU-CZ-1", "US-TX-3")
VOLUMES = tuple(Volume(id=f"vol{n}", data_center_id=center) for n, center in enumerate(REGIONS))
CACHED = OfferedModel(model_id=MODEL, network_volume_ids=tuple(volume.id for volume in VOLUMES))
PLATFORM = {"models": (CACHED,), "network_volumes": VOLUMES, "data_center_ids": REGIONS}


def no_capacity() -> httpx.Response:
    body = {"title": "Bad Request", "status": 400, "detail": "There are no longer any instances available"}
    return httpx.Response(400, json=body)


@pytest.fixture
def refusals(runpod: Any, monkeypatch: pytest.MonkeyPatch) -> list[httpx.Response]:
    """What creating an endpoint answers, one after the other, before it works."""
    answers: list[httpx.Response] = []
    create = runpod._create_endpoint
    monkeypatch.setattr(runpod, "_create_endpoint", lambda request: answers.pop(0) if answers else create(request))
    return answers


async def test_placements_say_where_why_and_at_what_price(serve: Any, runpod: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.1, EU_RO_1="HIGH", US_TX_3="NONE")
    runpod.offer_gpu("AMPERE_48", 48, 1.22, US_TX_3="LOW")
    async with serve(**{**PLATFORM, "network_volumes": VOLUMES[:1]}) as client:
        runpod.volumes = [{"id": "vol0", "name": "a", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}]
        found = (await client.get("/v1/placements", params={"model": MODEL}, headers=GERMANY)).json()
        bare = (await client.get("/v1/placements", params={"region": "US"})).json()
    best, *others = found["placements"]
    assert (best["data_center_id"], best["gpu_pool"], best["network_volume_id"]) == ("EU-RO-1", "ADA_24", "vol0")
    assert (best["stock"], best["usd_per_hour"], best["distance_km"]) == ("HIGH", 1.1, pytest.approx(1295, abs=10))
    assert found["near"] == "DE"
    assert {reason["term"] for reason in best["reasons"]} == {"cache", "stock", "distance", "memory", "store", "price"}
    assert best["score"] == pytest.approx(sum(reason["points"] for reason in best["reasons"]))
    assert [place["possible"] for place in others] == [True, *[False] * 4]
    assert {place["data_center_id"] for place in bare["placements"]} == {"US-TX-3"}
    assert bare["model"] is None
    assert runpod.calls["create_endpoint"] == 0


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"region": "MARS"}, "region"),
        ({"gpu_pool": "TPU"}, "gpu_pool"),
        ({"task": "song"}, "task"),
        ({"model": ""}, "model"),
    ],
)
async def test_wrong_wishes_are_named(serve: Any, params: dict[str, str], field: str) -> None:
    async with serve() as client:
        answer = await client.get("/v1/placements", params=params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_an_endpoint_is_made_near_the_caller_where_the_model_lies(serve: Any, runpod: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.1, EU_RO_1="LOW", EU_CZ_1="HIGH", US_TX_3="HIGH")
    async with serve(**PLATFORM) as client:
        await client.post("/v1/jobs", json=JOB, headers=GERMANY)
        (first,) = runpod.endpoints
        del runpod.endpoints[first]
        await client.post("/v1/jobs", json=JOB, headers={**TEXAS, "Idempotency-Key": "2"})
    europe, america = runpod.bodies["create_endpoint"]
    assert (set(europe["dataCenterIds"]), set(europe["networkVolumes"])) == ({"EU-RO-1", "EU-CZ-1"}, {"vol0", "vol1"})
    assert (america["dataCenterIds"], america["networkVolumes"]) == (["US-TX-3"], ["vol2"])
    assert europe["name"] == america["name"]  # twins are recognised, wherever their callers are


async def test_a_caller_from_nowhere_gets_the_four_calls_and_every_cached_region(serve: Any, runpod: Any) -> None:
    async with serve(**PLATFORM) as client:
        assert (await client.post("/v1/jobs", json=JOB)).json()["status"] == "accepted_cold"
    assert runpod.calls == {"list_endpoints": 2, "create_endpoint": 1, "run": 1}
    (body,) = runpod.bodies["create_endpoint"]
    assert (body["dataCenterIds"], body["networkVolumes"]) == (list(REGIONS), ["vol0", "vol1", "vol2"])


async def test_the_catalog_is_asked_once_for_everyone(serve: Any, runpod: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.1, EU_RO_1="HIGH")
    async with serve(**PLATFORM) as client:
        for n in range(4):
            key = {"Authorization": f"Bearer rpa_CANARYKEY000000000000000000000{n}"}
            await client.post("/v1/jobs", json=JOB, headers=GERMANY | key)
    assert runpod.calls["create_endpoint"] == 4
    assert runpod.calls["list_gpu_types"] == 1


async def test_the_next_place_is_tried_when_there_is_no_capacity(
    serve: Any, runpod: Any, refusals: list[httpx.Response]
) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.1, EU_RO_1="HIGH", US_TX_3="HIGH")
    refusals.append(no_capacity())
    async with serve(**PLATFORM, gpu_pools=("ADA_24",)) as client:
        answer = await client.post("/v1/jobs", json=JOB, headers=GERMANY)
    assert answer.status_code == 202
    near, cached = runpod.bodies["create_endpoint"]
    assert near["dataCenterIds"] == ["EU-RO-1"]
    assert set(cached["dataCenterIds"]) == {"EU-RO-1", "US-TX-3"}
    assert set(cached["networkVolumes"]) == {"vol0", "vol2"}


async def test_when_no_place_has_capacity_the_answer_says_so(
    serve: Any, runpod: Any, refusals: list[httpx.Response]
) -> None:
    refusals.extend(no_capacity() for _ in range(10))
    async with serve(**PLATFORM) as client:
        answer = await client.post("/v1/jobs", json=JOB, headers=GERMANY)
    assert (answer.status_code, answer.json()["code"]) == (503, "no_capacity")
    assert runpod.calls["run"] == 0


async def test_an_account_without_the_platforms_volumes_is_served_from_the_hub(
    serve: Any, runpod: Any, refusals: list[httpx.Response]
) -> None:
    detail = "networkVolumes: there is no network volume 'vol0'"
    refusals.append(httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": detail}))
    async with serve(**PLATFORM) as client:
        assert (await client.post("/v1/jobs", json=JOB)).status_code == 202
        (made,) = runpod.endpoints
        del runpod.endpoints[made]
        assert (await client.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "2"})).status_code == 202
    first, second, third = runpod.bodies["create_endpoint"]
    assert first["networkVolumes"]
    assert second["networkVolumes"] == third["networkVolumes"] == []
    assert second["dataCenterIds"] == list(REGIONS)
    assert second["env"]["HF_ENDPOINT"] == "http://hub.test:1"
    assert runpod.calls["list_volumes"] == 1


async def test_a_model_that_is_only_on_the_platforms_volumes_is_refused_to_an_account_without_them(
    serve: Any, runpod: Any, refusals: list[httpx.Response]
) -> None:
    detail = "networkVolumes: there is no network volume 'vol0'"
    refusals.append(httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": detail}))
    own = OfferedModel(model_id="acme/own", network_volume_ids=CACHED.network_volume_ids)
    async with serve(**{**PLATFORM, "models": (own,)}) as client:
        answer = await client.post("/v1/jobs", json={**JOB, "model": "acme/own"})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert runpod.calls["create_endpoint"] == 1
    assert runpod.endpoints == {}


async def test_an_account_with_one_of_the_volumes_runs_where_it_is(
    serve: Any, runpod: Any, refusals: list[httpx.Response]
) -> None:
    detail = "networkVolumes: there is no network volume 'vol0'"
    refusals.append(httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": detail}))
    runpod.volumes = [{"id": "vol1", "name": "a", "size": 10, "dataCenter": "EU-CZ-1", "type": "STANDARD"}]
    async with serve(**PLATFORM) as client:
        assert (await client.post("/v1/jobs", json=JOB)).status_code == 202
    _, second = runpod.bodies["create_endpoint"]
    assert (second["dataCenterIds"], second["networkVolumes"]) == (["EU-CZ-1"], ["vol1"])
