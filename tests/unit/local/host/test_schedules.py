import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.host.app import create_app
from pulumi_visgate.local.host.schedules import REPAIR_S, RETRY_S, Schedules, ScheduleSpec
from pulumi_visgate.local.state import CloudState
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import (
    CreateEndpoint,
    EndpointWorkers,
    QueueDelayScaling,
    UpdateEndpoint,
)

NINE = datetime(2026, 6, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = {"start": "09:00", "end": "18:00", "timezone": "UTC", "min_workers": 2}


class Clocks:
    """The time of day, which may be set, and the one that only goes on."""

    def __init__(self) -> None:
        self.now = NINE - HOUR
        self.seconds = 0.0


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def schedules(clocks: Clocks) -> Iterator[Schedules]:
    made = Schedules(digest_key=b"key", now=lambda: clocks.now, clock=lambda: clocks.seconds)
    yield made
    made.close()


@pytest.fixture
def runpod(runpod_emulator: RunpodEmulator) -> Iterator[RunpodClient]:
    runpod_emulator.map_image("acme/worker", "sleep 600")
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        yield client


@pytest.fixture
def pool(runpod: RunpodClient) -> str:
    return runpod.create_endpoint(
        CreateEndpoint.model_validate(
            {
                "name": "pool",
                "image": "acme/worker:1",
                "type": "QUEUE",
                "gpu": {"pools": ["ADA_24"]},
                "workers": {"min": 0, "max": 3},
                "scaling": QueueDelayScaling(queue_delay=4),
            }
        )
    ).id


@pytest.fixture
def spec(runpod_emulator: RunpodEmulator, pool: str) -> Callable[..., ScheduleSpec]:
    def make(**more: Any) -> ScheduleSpec:
        known = {"runpod_api_url": runpod_emulator.api_url, "runpod_api_key": runpod_emulator.key}
        return ScheduleSpec.model_validate({"endpoint_id": pool, "windows": [WINDOW], **known, **more})

    return make


async def test_the_minimum_follows_the_clock_wherever_it_jumps(
    schedules: Schedules, clocks: Clocks, spec: Callable[..., ScheduleSpec], runpod: RunpodClient, pool: str
) -> None:
    schedules.put("pool", spec(min_workers=1))
    for now, expected in (
        (NINE - HOUR, 1),
        (NINE, 2),
        (NINE + 20 * HOUR, 1),  # a night in which the machine slept
        (NINE + 24 * HOUR, 2),
        (NINE - HOUR, 1),  # a clock that was set back
    ):
        clocks.now = now
        await schedules.tick()
        assert runpod.get_endpoint(pool).workers.min == expected
    shown = schedules.get("pool")
    assert shown is not None
    assert (shown["wanted"], shown["minimum"], shown["error"]) == (1, 1, None)
    assert shown["next_transition"] == "2026-06-01T09:00:00+00:00"


async def test_nothing_due_costs_no_call_and_what_somebody_moved_is_repaired(
    schedules: Schedules,
    clocks: Clocks,
    spec: Callable[..., ScheduleSpec],
    runpod: RunpodClient,
    runpod_emulator: RunpodEmulator,
) -> None:
    clocks.now = NINE
    schedules.put("pool", spec())
    pool = spec().endpoint_id
    await schedules.tick()
    runpod_emulator.reset_requests()
    schedules.put("pool", spec())
    for _ in range(3):
        clocks.seconds += REPAIR_S / 4
        await schedules.tick()
    assert runpod_emulator.requests() == {}

    runpod.update_endpoint(pool, UpdateEndpoint(workers=EndpointWorkers(min=0)))
    clocks.seconds += REPAIR_S
    await schedules.tick()
    assert runpod.get_endpoint(pool).workers.min == 2

    runpod.update_endpoint(pool, UpdateEndpoint(workers=EndpointWorkers(min=0, max=0)))  # somebody has switched it off
    clocks.seconds += REPAIR_S
    await schedules.tick()
    workers = runpod.get_endpoint(pool).workers
    assert (workers.min, workers.max) == (0, 0)


async def test_trouble_is_told_without_the_key_and_tried_again(
    schedules: Schedules,
    clocks: Clocks,
    spec: Callable[..., ScheduleSpec],
    runpod_emulator: RunpodEmulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clocks.now = NINE
    schedules.put("gone", spec(endpoint_id="nothing"))
    schedules.put("pool", spec())
    runpod_emulator.fault("status", operation="updateEndpoint", status=400, times=1)
    await schedules.tick()
    assert all(shown["error"] for shown in schedules.all())
    runpod_emulator.reset_requests()
    await schedules.tick()
    assert runpod_emulator.requests() == {}
    clocks.seconds += RETRY_S
    await schedules.tick()
    assert {shown["name"]: shown["minimum"] for shown in schedules.all()} == {"gone": None, "pool": 2}
    assert runpod_emulator.key not in caplog.text + str(schedules.all())
    assert "minimum of" in caplog.text


@pytest.fixture
async def host(home: Home) -> AsyncIterator[httpx.AsyncClient]:
    state = CloudState(ports={"s3": 1, "host": 2})
    app = create_app(home, state, {"PATH": "/usr/bin:/bin"})
    headers = {"authorization": f"Bearer {state.host_token.get_secret_value()}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host.test", headers=headers) as client,
    ):
        yield client


async def test_a_schedule_from_start_to_end(
    host: httpx.AsyncClient, runpod: RunpodClient, runpod_emulator: RunpodEmulator, pool: str, home: Home
) -> None:
    always = {"start": "00:00", "end": "24:00", "timezone": "UTC"}
    body = {
        "endpoint_id": pool,
        "windows": [always],
        "runpod_api_url": runpod_emulator.api_url,
        "runpod_api_key": runpod_emulator.key,
    }
    put = (await host.put("/schedules/pool", json=body)).json()
    async with asyncio.timeout(30):
        while (await host.get("/schedules/pool")).json()["minimum"] != 1:  # noqa: ASYNC110, it is behind HTTP
            await asyncio.sleep(0.02)
    assert runpod.get_endpoint(pool).workers.min == 1
    again = (await host.put("/schedules/pool", json=body)).json()
    assert again["spec_digest"] == put["spec_digest"]
    assert (await host.get("/schedules")).json()["schedules"] == [again]
    other = (await host.put("/schedules/pool", json={**body, "runpod_api_key": "rpa_ANOTHERANOTHERANOTHER"})).json()
    assert other["spec_digest"] != put["spec_digest"]
    assert (await host.delete("/schedules/pool")).status_code == 204
    assert (await host.get("/schedules/pool")).status_code == 404
    assert (await host.delete("/schedules/pool")).status_code == 204
    kept = [
        file for file in home.root.rglob("*") if file.is_file() and runpod_emulator.key.encode() in file.read_bytes()
    ]
    assert kept == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"windows": []}, "windows"),
        ({"windows": [{**WINDOW, "timezone": "Mars"}]}, "windows.0.timezone"),
        ({"endpoint_id": "a/b"}, "endpoint_id"),
        ({"runpod_api_url": "ftp://x"}, "runpod_api_url"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_schedule_names_the_field_and_repeats_nothing(
    host: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    right = {"endpoint_id": "e", "windows": [WINDOW], "runpod_api_url": "http://x", "runpod_api_key": "hunter2"}
    answer = await host.put("/schedules/pool", json=right | change)
    assert answer.status_code == 422
    assert field in answer.json()["detail"]
    assert "hunter2" not in answer.text
    assert (await host.put("/schedules/UPPER", json=right)).status_code == 422
