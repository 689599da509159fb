"""The upkeep service against the emulated Runpod: minima in time, and what nobody owns."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.job import JobRequest
from pulumi_visgate.upkeep.app import create_app
from pulumi_visgate.upkeep.settings import Settings
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

OPENS = {"start": "09:00", "end": "18:00", "timezone": "UTC", "min_workers": 2}
LATER = timedelta(hours=30)
Post = Callable[..., Any]


@pytest.fixture
def runpod(runpod_emulator: RunpodEmulator) -> Iterator[RunpodClient]:
    runpod_emulator.map_image("acme/worker", "true")
    with RunpodClient(
        runpod_emulator.key, base_url=runpod_emulator.api_url, jobs_url=runpod_emulator.jobs_url
    ) as client:
        yield client


@pytest.fixture
def post(runpod_emulator: RunpodEmulator) -> Iterator[Post]:
    """Send an event as a scheduler would, at a moment."""
    moment = datetime.now(UTC)
    settings = Settings(
        runpod_api_key=runpod_emulator.key,
        runpod_api_url=runpod_emulator.api_url,
        runpod_jobs_url=runpod_emulator.jobs_url,
        stack="p/s",
    )
    with TestClient(create_app(settings, now=lambda: moment)) as client:

        def send(work: dict[str, Any], at: datetime) -> Any:
            nonlocal moment
            moment = at
            return client.post("/events", json=work)

        assert client.get("/readyz").status_code == 200
        yield send


def made(runpod: RunpodClient, key: str, *, model: str = "m/one", name: str | None = None, minimum: int = 0) -> str:
    found = EndpointName.build(
        user_hash=user_hash(key), model_id=model, task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={}
    )
    body = {
        "name": name or str(found),
        "image": "acme/worker:1",
        "type": "QUEUE",
        "gpu": {"pools": ["ADA_24"]},
        "workers": {"min": minimum, "max": 3},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    }
    return runpod.create_endpoint(CreateEndpoint.model_validate(body)).id


def made_at(runpod: RunpodClient, endpoint: str) -> datetime:
    """Return when an endpoint was made by Runpod's clock, which other tests may have moved."""
    return runpod.get_endpoint(endpoint).created_at


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 26, hour, minute, tzinfo=UTC)


def test_a_pool_is_moved_at_the_edge_of_its_window_and_repaired_each_quarter_of_an_hour(
    runpod: RunpodClient, runpod_emulator: RunpodEmulator, post: Post
) -> None:
    pool = made(runpod, runpod_emulator.key)
    work = {"do": "reconcile", "pools": [{"endpoint_id": pool, "windows": [OPENS]}]}
    assert post(work, at(8, 59)).json() == {"minima": {}}
    assert post(work, at(9, 1)).json() == {"minima": {pool: 2}}
    assert runpod.get_endpoint(pool).workers.min == 2
    runpod_emulator.reset_requests()
    assert post(work, at(10, 7)).json() == {"minima": {}}
    assert runpod_emulator.requests() == {}  # a tick that has nothing to do asks nobody
    assert post(work, at(10, 15)).json() == {"minima": {pool: 2}}
    assert post(work, at(18, 2)).json() == {"minima": {pool: 0}}
    assert runpod.get_endpoint(pool).workers.min == 0


def test_one_pool_that_is_gone_keeps_no_other_from_being_moved_and_is_told(
    runpod: RunpodClient, runpod_emulator: RunpodEmulator, post: Post
) -> None:
    pool = made(runpod, runpod_emulator.key)
    pools = [{"endpoint_id": id_, "windows": [OPENS]} for id_ in ("gone", pool)]
    answer = post({"do": "reconcile", "pools": pools}, at(9))
    assert answer.status_code == 502  # the adapter makes it a failed invocation, which an alarm sees
    assert runpod.get_endpoint(pool).workers.min == 2


def test_what_nobody_owns_is_told_first_and_ends_when_asked_for(
    runpod: RunpodClient, runpod_emulator: RunpodEmulator, post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    key = runpod_emulator.key
    declared, idle = made(runpod, key, model="m/declared"), made(runpod, key, model="m/idle")
    foreign = made(runpod, key, name="production")
    stranger = made(runpod, key, name=str(runpod.get_endpoint(idle).name).replace(user_hash(key)[:10], "0" * 10))
    work = {"do": "reap", "keep": [declared], "min_age_hours": 24}
    moment = made_at(runpod, idle)
    later = moment + LATER
    young = post(work, moment).json()["findings"]
    assert [(one["endpoint_id"], one["goes"]) for one in young] == [(idle, False)]
    assert "made less than 24 h ago" in young[0]["reason"]
    [found] = post(work, later).json()["findings"]
    assert (found["endpoint_id"], found["goes"], found["done"]) == (idle, True, "")
    assert {endpoint.id for endpoint in runpod.list_endpoints()} == {declared, idle, foreign, stranger}
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")][-1]
    assert (metrics["Stack"], metrics["EndpointsOfNobody"]) == ("p/s", 1)
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Visgate"
    [found] = post({**work, "delete": True}, later).json()["findings"]
    assert found["done"] == "deleted"
    assert {endpoint.id for endpoint in runpod.list_endpoints()} == {declared, foreign, stranger}
    assert post({**work, "delete": True}, later).json() == {"findings": []}


def test_an_endpoint_with_jobs_or_workers_is_not_deleted(
    runpod: RunpodClient, runpod_emulator: RunpodEmulator, post: Post
) -> None:
    busy = made(runpod, runpod_emulator.key, model="m/busy")
    costly = made(runpod, runpod_emulator.key, model="m/costly", minimum=1)
    runpod.run_job(busy, JobRequest(input={}))
    work = {"do": "reap", "keep": [], "min_age_hours": 24, "delete": True}
    later = made_at(runpod, costly) + LATER
    found = {one["endpoint_id"]: one for one in post(work, later).json()["findings"]}
    assert "queued jobs" in found[busy]["reason"]
    assert not found[busy]["goes"]
    assert (found[costly]["goes"], found[costly]["done"]) == (True, "scaled down")
    assert runpod.get_endpoint(costly).workers.min == 0
    assert {endpoint.id for endpoint in runpod.list_endpoints()} == {busy, costly}


@pytest.mark.parametrize(
    "work",
    [{}, {"do": "dance"}, {"do": "reap"}, {"do": "reconcile", "pools": [{"endpoint_id": "../x", "windows": []}]}],
)
def test_an_event_that_it_does_not_know_is_refused(post: Post, work: dict[str, Any]) -> None:
    assert post(work, at(9)).status_code == 422
