from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.host.app import create_app
from pulumi_visgate.local.processes import base_environment
from pulumi_visgate.local.state import CloudState


@pytest.fixture
async def host(home: Home) -> AsyncIterator[httpx.AsyncClient]:
    state = CloudState(ports={"s3": 1, "host": 2})
    app = create_app(home, state, base_environment({"PATH": "/usr/bin:/bin"}, home=home.root))
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {state.host_token.get_secret_value()}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://host.test", headers=headers) as client,
    ):
        yield client


async def test_its_health_is_public(host: httpx.AsyncClient) -> None:
    assert (await host.get("/healthz", headers={"authorization": ""})).status_code == 200


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer ", "Basic abc", "Bearer \u00e9"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/services"),
        ("PUT", "/services/gateway"),
        ("GET", "/services/gateway"),
        ("DELETE", "/services/gateway"),
        ("GET", "/buckets"),
        ("PUT", "/buckets/pictures"),
        ("GET", "/buckets/pictures"),
        ("DELETE", "/buckets/pictures"),
        ("GET", "/schedules"),
        ("PUT", "/schedules/pool"),
        ("GET", "/schedules/pool"),
        ("DELETE", "/schedules/pool"),
    ],
)
async def test_admin_routes_need_the_token(host: httpx.AsyncClient, method: str, path: str, authorization: str) -> None:
    answer = await host.request(method, path, headers=[(b"authorization", authorization.encode())])
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"


async def test_a_service_from_start_to_end(host: httpx.AsyncClient, modules: Path) -> None:
    body = {"module": "painter", "env": {"PYTHONPATH": str(modules)}}
    started = await host.put("/services/gateway", json=body)
    assert started.status_code == 200
    assert started.json()["running"] is True
    assert set(started.json()) >= {"url", "pid", "spec_digest"}
    assert (await host.put("/services/gateway", json=body)).json() == started.json()
    assert (await host.get("/services/gateway")).json() == started.json()
    assert (await host.get("/services")).json()["services"] == [started.json()]
    assert (await host.delete("/services/gateway")).status_code == 204
    assert (await host.get("/services/gateway")).status_code == 404
    assert (await host.delete("/services/gateway")).status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"env": {"A": "hunter2"}}', "module"),
        ('{"module": "os; rm", "env": {"A": "hunter2"}}', "module"),
        ('{"module": "m", "env": {"A": 5, "B": "hunter2"}}', "env.A"),
        ('{"module": "m", "env": {"A B": "hunter2"}}', "env.A B"),
        ('{"module": "m", "colour": "hunter2"}', "colour"),
        ("hunter2", "body"),
    ],
)
async def test_a_wrong_specification_names_the_field_and_repeats_nothing(
    host: httpx.AsyncClient, body: str, field: str
) -> None:
    answer = await host.put("/services/gateway", content=body)
    assert answer.status_code == 422
    assert f"{field}" in answer.json()["detail"]
    assert "hunter2" not in answer.text


async def test_a_wrong_service_name_is_refused(host: httpx.AsyncClient) -> None:
    answer = await host.put("/services/..%5Cx", json={"module": "painter"})
    assert answer.status_code == 422


async def test_a_service_that_fails_is_a_problem_with_its_log(host: httpx.AsyncClient, modules: Path) -> None:
    env = {"PYTHONPATH": str(modules), "BROKEN": "1", "SECRET": "hunter2-hunter2"}
    answer = await host.put("/services/gateway", json={"module": "painter", "env": env})
    assert answer.status_code == 502
    assert answer.json()["code"] == "service_failed"
    assert "cannot start" in answer.json()["detail"]
    assert "hunter2" not in answer.text


async def test_buckets_are_published_and_withdrawn(host: httpx.AsyncClient) -> None:
    answer = await host.put("/buckets/pictures")
    assert answer.json() == {"name": "pictures", "url": "http://host.test/cdn/pictures"}
    assert (await host.get("/buckets/pictures")).json() == answer.json()
    assert (await host.get("/buckets")).json() == {"buckets": ["pictures"]}
    assert (await host.delete("/buckets/pictures")).status_code == 204
    assert (await host.get("/buckets/pictures")).status_code == 404
    assert (await host.put("/buckets/UPPER")).status_code == 422


async def test_its_end_ends_the_services(home: Home, modules: Path) -> None:
    state = CloudState(ports={"s3": 1, "host": 2})
    app = create_app(home, state, base_environment({"PATH": "/usr/bin:/bin"}, home=home.root))
    headers = {"authorization": f"Bearer {state.host_token.get_secret_value()}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host.test", headers=headers) as client,
    ):
        body = {"module": "painter", "env": {"PYTHONPATH": str(modules)}}
        url = (await client.put("/services/gateway", json=body)).json()["url"]
    async with httpx.AsyncClient(trust_env=False) as outside:
        with pytest.raises(httpx.ConnectError):
            await outside.get(url)
