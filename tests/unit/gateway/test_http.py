"""What holds for every route: keys, problems, headers, sizes, limits, the API page."""

import logging
import re
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.state import State

OPEN = ("/v1/webhooks/{tenant}/jwks.json", "/v1/models", "/v1/callbacks/runpod/{token}")  # without a key
IN_OTHER_FORM = ("/v1/images/generations",)  # of the API that it stands for
KEY = "rpa_CANARYKEY0000000000000000000001"
TOKEN = "hf_CANARYTOKEN0000000000000001"
MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs/job_a_b_c"),
        ("POST", "/v1/jobs/job_a_b_c/cancel"),
        ("POST", "/v1/jobs/job_a_b_c/retry"),
        ("GET", "/v1/jobs/job_a_b_c/events"),
        ("GET", "/v1/jobs/job_a_b_c/logs"),
        ("GET", "/v1/endpoints/abc/logs"),
        ("POST", "/v1/deployments"),
        ("GET", "/v1/deployments"),
        ("DELETE", "/v1/deployments/abc"),
        ("GET", "/v1/webhooks/key"),
    ],
)
@pytest.mark.parametrize("header", [None, "Basic dTpw", "Bearer", "Bearer x", "Bearer with space inside it"])
async def test_no_key_no_answer(serve: Any, runpod: Any, method: str, path: str, header: str | None) -> None:
    async with serve() as client:
        client.headers.pop("Authorization")
        headers = {"Authorization": header} if header else {}
        answer = await client.request(
            method, path, json={"nonsense": True} if method == "POST" else None, headers=headers
        )
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert runpod.calls == {}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/openapi.json", "/docs"])
async def test_some_routes_need_no_key(serve: Any, path: str) -> None:
    async with serve() as client:
        client.headers.pop("Authorization")
        assert (await client.get(path)).status_code == 200


async def test_models_are_what_the_platform_offers(serve: Any) -> None:
    async with serve() as client:
        (model,) = (await client.get("/v1/models")).json()["models"]
    assert model == {"model": MODEL, "revision": None, "tasks": ["text2img"], "policy": "on_demand"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'"text"', "body"),
        (b"{}", "model"),
        (b'{"model": "a/b"}', "input"),
        (b'{"model": "a/b", "input": {}}', "input.prompt"),
        (b'{"model": "a/b", "input": {"prompt": ""}}', "input.prompt"),
        (b'{"model": "a/b", "input": {"prompt": "x", "width": -64}}', "input.width"),
        (b'{"model": "a/b", "input": {"prompt": "x", "width": 65}}', "input.width"),
        (b'{"model": "a/b", "input": {"prompt": "x", "num_images": 99}}', "input.num_images"),
        (b'{"model": "a/b", "input": {"prompt": "x", "sampler": "?"}}', "input.sampler"),
        (b'{"model": "a/b", "input": {"prompt": "x"}, "task": "sing"}', "task"),
        (b'{"model": "a/b", "input": {"prompt": "x", "task": "text2img"}, "task": "text2video"}', "input"),
        (b'{"model": "a/b", "input": {"prompt": "x", "num_frames": 2}, "task": "text2video"}', "input.num_frames"),
        (b'{"model": "a/b", "input": {"prompt": "x", "task": "img2img"}}', "input"),
        (b'{"model": "a/b", "input": {"prompt": "x"}, "modle": "typo"}', "modle"),
        (b"[" * 100_000, "body"),
        (b"\xff\xfe", "body"),
    ],
)
async def test_wrong_bodies_name_the_field(serve: Any, runpod: Any, body: bytes, field: str) -> None:
    async with serve() as client:
        answer = await client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == ("task_not_supported" if field == "task" else "invalid_request")
    assert field in {error["field"] for error in problem["errors"]}, problem
    assert runpod.calls == {}


async def test_wrong_input_is_never_repeated(serve: Any) -> None:
    body = {"model": MODEL, "input": {"prompt": "x", "width": "canary-value"}, "user_runpod_key": KEY, "canary-name": 1}
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=body, headers={"X-HF-Token": TOKEN})
    assert answer.status_code == 422
    assert not re.search("canary-value|CANARY", answer.text)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/jobs", 405)])
async def test_unknown_routes_are_problems_too(serve: Any, method: str, path: str, status: int) -> None:
    async with serve() as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_is_told_all_the_right_ones(serve: Any) -> None:
    async with serve() as client:
        assert (await client.put("/v1/deployments")).headers["allow"] == "GET, POST"
        assert (await client.put("/v1/deployments/abc")).headers["allow"] == "DELETE"


async def test_every_answer_has_the_small_headers(serve: Any) -> None:
    async with serve() as client:
        for answer in (await client.get("/healthz"), await client.get("/nowhere"), await client.post("/v1/jobs")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["x-request-id"].startswith("req_")
        given = await client.get("/nowhere", headers={"X-Request-Id": "abcdef-123456"})
        forged = await client.get("/nowhere", headers={"X-Request-Id": "no spaces allowed"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "abcdef-123456"
    assert forged.headers["x-request-id"].startswith("req_")


async def test_a_fault_of_our_own_tells_nothing(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        message = f"secret inside: {KEY}"
        raise RuntimeError(message)

    monkeypatch.setattr(State, "of", staticmethod(fail))
    async with serve() as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "RuntimeError" not in answer.text
    assert KEY not in answer.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert KEY not in masking.MaskingFormatter([]).format(record)


async def test_a_body_over_the_limit_is_refused_however_it_is_sent(serve: Any, runpod: Any) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 100

    async with serve(max_body_bytes=2048) as client:
        announced = await client.post("/v1/jobs", content=b"x" * 4000)
        streamed = await client.post("/v1/jobs", content=chunks())
        lying = await client.post("/v1/jobs", content=chunks(), headers={"Content-Length": "10"})
    assert [answer.status_code for answer in (announced, streamed, lying)] == [413, 413, 413]
    assert announced.json()["code"] == "invalid_request"
    assert runpod.calls == {}


async def test_a_key_over_its_limit_is_told_when_to_come_back(serve: Any) -> None:
    async with serve(rate_per_user="3/hour burst 3") as client:
        answers = [await client.get("/v1/webhooks/key") for _ in range(5)]
        other = await client.get("/v1/webhooks/key", headers={"Authorization": "Bearer rpa_SOMEBODYELSE000000000000"})
        probe = await client.get("/healthz")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"] == '"address";q=1000;w=1, "key";q=3;w=3600'
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 1200
    assert answers[-1].json()["code"] == "rate_limited"
    assert (other.status_code, probe.status_code) == (200, 200)
    assert "ratelimit" not in probe.headers


async def test_an_address_is_limited_whatever_its_keys(serve: Any) -> None:
    async with serve(rate_per_ip="2/hour burst 2") as client:
        answers = [
            await client.get("/v1/webhooks/key", headers={"Authorization": f"Bearer rpa_KEY{n:030d}"}) for n in range(3)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_the_api_page_needs_no_other_host(serve: Any) -> None:
    async with serve() as client:
        page = await client.get("/docs")
        assert "//" not in re.sub(r"<!doctype[^>]*>", "", page.text)
        assert "script-src 'self'" in page.headers["content-security-policy"]
        for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert (await client.get(f"/{path}")).status_code == 200, path


async def test_every_route_is_described_with_its_problems(serve: Any) -> None:
    async with serve() as client:
        document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            if path.startswith("/v1/") and path not in OPEN + IN_OTHER_FORM:
                schema = operation["responses"]["401"]["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
                assert operation["security"]


def test_two_applications_share_nothing(new_settings: Any) -> None:
    one, other = create_app(new_settings()), create_app(new_settings(public_url="http://other.test"))
    assert one.openapi()["servers"] != other.openapi()["servers"]


async def test_the_application_says_when_it_is_not_started(new_settings: Any) -> None:
    transport = httpx.ASGITransport(create_app(new_settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        assert (await client.get("/readyz")).status_code == 503
