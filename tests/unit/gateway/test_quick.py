"""The short way into the routes called most answers whatever is sent as the long way does, which FastAPI takes."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.state import Clients
from tests.unit.gateway.conftest import Bucket
from tests.unit.gateway.test_jobs import BODY, KEY, pool

LONG = "application/json; charset=utf-8"  # means the same; the short way does not know it
FAL = {"Authorization": f"Key {KEY}"}


def comparable(answer: httpx.Response) -> dict[str, Any]:
    """Everything of an answer but what is new in each."""
    body = answer.json()
    new = {"task_id", "job_id", "links", "request_id"}
    headers = {key: value for key, value in answer.headers.items() if key not in {"x-request-id", "content-length"}}
    return {
        "status": answer.status_code,
        "headers": {key: "…" if key.startswith("ratelimit") else value for key, value in headers.items()},
        "body": {key: "…" if key in new else value for key, value in body.items()},
    }


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        ({**BODY, "task": "text_to_image"}, {}),
        ({"hf_model_id": BODY["model"], "input": BODY["input"]}, {}),
        ({**BODY, "user_runpod_key": "rpa_OF_ANOTHER_ACCOUNT"}, {}),
        ({**BODY, "hf_token": "hf_CANARYTOKEN0000000000000001"}, {}),
        ({**BODY, "hf_token": "no token"}, {}),
        ({**BODY, "hf_token": 7}, {}),
        (BODY, {"X-HF-Token": "hf_CANARYTOKEN0000000000000001"}),
        (BODY, {"X-HF-Token": "no token"}),
        ({**BODY, "hf_token": "no token"}, {"X-HF-Token": "hf_CANARYTOKEN0000000000000001"}),
        (BODY, {"Idempotency-Key": "of-mine"}),
        (BODY, {"Idempotency-Key": ""}),
        (BODY, {"Idempotency-Key": "x" * 256}),
        (BODY, {"Idempotency-Key": "with a space"}),
        (BODY, {"Authorization": "Bearer x"}),
        (BODY, {"Authorization": "bearer " + KEY}),
        (BODY, {"Authorization": ""}),
        ({**BODY, "user_runpod_key": KEY}, {"Authorization": ""}),
        (BODY, {"Authorization": f"Basic {KEY}"}),
        ({**BODY, "task": "text2video"}, {}),
        ({**BODY, "more": 1}, {}),
        ({**BODY, "model": ""}, {}),
        ({**BODY, "region": "XX"}, {}),
        ({"model": "someone/else", "input": BODY["input"]}, {}),
        ({}, {}),
        ([], {}),
        (None, {}),
        ("text", {}),
        (b"", {}),
        (b"{", {}),
        (b'{"model": "a", "model": "b"}', {}),
        (b"\xff\xfe", {}),
        (b'{"model": "\\ud800", "input": {"prompt": "p"}}', {}),
        (json.dumps(BODY).replace("64", "NaN").encode(), {}),
        (json.dumps(BODY).replace("64", '"64"').encode(), {}),
        (b"[" * 100_000, {}),
    ],
)
async def test_both_ways_answer_alike(serve: Any, runpod: Any, body: Any, headers: Mapping[str, str]) -> None:
    pool(runpod)
    await assert_alike(serve, runpod, "/v1/jobs", body, headers)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"model": BODY["model"]}, {}),
        ({"model": BODY["model"], "hf_token": "no token"}, {}),
        ({"model": BODY["model"]}, {"Idempotency-Key": "with a space"}),
        ({"hf_model_id": BODY["model"]}, {}),
        ({"model": BODY["model"], "user_runpod_key": KEY}, {"Authorization": ""}),
        ({"model": BODY["model"], "region": "XX"}, {}),
        ({"model": "someone/else"}, {}),
        ({"model": ""}, {}),
        (BODY, {}),
        ({}, {}),
        (b"", {}),
        (b"{", {}),
    ],
)
@pytest.mark.parametrize("warm", [True, False])
async def test_both_ways_deploy_alike(
    serve: Any, runpod: Any, body: Any, headers: Mapping[str, str], warm: bool
) -> None:
    endpoint_id = pool(runpod)
    if warm:
        runpod.start_worker(endpoint_id)
    await assert_alike(serve, runpod, "/v1/deployments", body, headers)


async def assert_alike(serve: Any, runpod: Any, path: str, body: Any, headers: Mapping[str, str]) -> None:
    """Send the same both ways and compare the answers."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answers = []
    for content_type in ("application/json", LONG):
        # A bucket of its own, in which no idempotency key is known yet.
        clients = Clients(runpod=runpod.transport(), store=Bucket().client())
        async with serve(clients=clients) as client:
            given = {"Content-Type": content_type, **headers}
            answers.append(await client.post(path, content=sent, headers=given))
    short, long = answers
    assert comparable(short) == comparable(long)
    assert len(short.headers.get_list("content-length")) == len(short.headers.get_list("content-type")) == 1
    assert int(short.headers["content-length"]) == len(short.content)


async def test_a_good_request_takes_the_short_way(
    new_settings: Any, runpod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thorough(route: APIRoute) -> Any:
        async def refuse(_request: Any) -> None:
            pytest.fail(f"{route.path} took the long way")

        return refuse

    pool(runpod)
    monkeypatch.setattr(APIRoute, "get_route_handler", thorough)
    app = create_app(new_settings(), clients=Clients(runpod=runpod.transport()))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers) as client,
    ):
        assert (await client.post("/v1/jobs", json=BODY)).status_code == 202
        assert (await client.post("/v1/deployments", json={"model": BODY["model"]})).status_code in {200, 202}


async def test_what_the_route_adds_to_its_answer_arrives(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        first, second = [
            await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "same"}) for _ in range(2)
        ]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.json() == first.json()
