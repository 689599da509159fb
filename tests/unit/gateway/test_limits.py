"""How long a job may take: what Runpod is told, what the worker is told, and who ends a job that did not begin."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.services import limits
from pulumi_visgate.gateway.state import Clients
from tests.unit.gateway.test_jobs import BODY, KEY, MODEL, pool
from visgate_contract.events import Event
from visgate_contract.jobs import JobInput
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import JobRef, new_task_id


class Clock:
    """`datetime` as the limits see it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self, zone: Any) -> datetime:
        return datetime.now(zone) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "datetime", made)
    return made


@pytest.mark.parametrize(
    ("asked", "policy"),
    [
        ({}, {"executionTimeout": 900_000, "ttl": 86_400_000}),
        ({"run_timeout_s": 60}, {"executionTimeout": 60_000, "ttl": 86_400_000}),
        ({"start_timeout_s": 120}, {"executionTimeout": 900_000, "ttl": (120 + 900 + limits.MARGIN_S) * 1000}),
        (
            {"start_timeout_s": 10, "run_timeout_s": 5},
            {"executionTimeout": 5_000, "ttl": (15 + limits.MARGIN_S) * 1000},
        ),
        ({"low_priority": True}, {"executionTimeout": 900_000, "ttl": 86_400_000, "lowPriority": True}),
        (
            {"policy": {"execution_timeout_ms": 60_500, "ttl_ms": 600_000, "low_priority": True}},
            {"executionTimeout": 61_000, "ttl": 600_000, "lowPriority": True},
        ),
        ({"policy": {"ttl_ms": 604_800_000}}, {"executionTimeout": 900_000, "ttl": 86_400_000}),
    ],
)
async def test_runpod_is_told_the_limits(
    serve: Any, runpod: Any, asked: dict[str, Any], policy: dict[str, Any]
) -> None:
    pool(runpod)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json={**BODY, **asked})
    assert answer.status_code == 202, answer.text
    (sent,) = runpod.bodies["run"]
    assert sent["policy"] == policy
    assert JobInput.model_validate(sent["input"]).start_timeout_s == asked.get("start_timeout_s")


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"run_timeout_s": 901}, "run_timeout_s", "at most 900"),
        ({"start_timeout_s": 86_400}, "start_timeout_s", "at most 85500"),
        ({"start_timeout_s": 9}, "start_timeout_s", "greater than or equal to 10"),
        ({"run_timeout_s": 4}, "run_timeout_s", "greater than or equal to 5"),
        ({"policy": {"ttl_ms": 1}}, "policy.ttl_ms", "greater than or equal to 10000"),
        ({"policy": {"nosuch": 1}}, "policy.nosuch", "not permitted"),
        ({"policy": {"execution_timeout_ms": 1_000_000}}, "run_timeout_s", "at most 900"),
    ],
)
async def test_limits_that_cannot_be_kept_are_refused(
    serve: Any, runpod: Any, *, asked: dict[str, Any], field: str, words: str
) -> None:
    pool(runpod)
    async with serve() as client:
        answer = await client.post("/v1/jobs", json={**BODY, **asked})
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["field"]) == (422, field)
    assert words in problem["detail"]
    assert runpod.calls["run"] == 0


async def accepted(client: Any, **asked: Any) -> str:
    answer = await client.post("/v1/jobs", json={**BODY, **asked})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_a_job_that_did_not_begin_in_time_is_ended_by_whoever_looks(
    serve: Any, runpod: Any, clock: Clock
) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = await accepted(client, start_timeout_s=30)
        in_time = (await client.get(f"/v1/jobs/{job_id}")).json()
        clock.ahead = timedelta(seconds=31)
        late = (await client.get(f"/v1/jobs/{job_id}")).json()
        events = (await client.get(f"/v1/jobs/{job_id}/events")).text
        retried = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (in_time["status"], in_time["error"]) == ("provisioning", None)
    assert (late["status"], late["runpod_status"]) == ("failed", "CANCELLED")
    assert late["error"]["code"] == "deadline_exceeded"
    assert late["error"]["detail"] == "No worker took the job within 30 s."
    assert runpod.calls["cancel"] == 1
    last = Event.model_validate_json(events.rpartition("data: ")[2].strip())
    assert last.data.error is not None
    assert (last.type, last.data.error.code) == ("job.failed", "deadline_exceeded")
    assert (retried.status_code, retried.json()["code"]) == (409, "invalid_request")


@pytest.mark.parametrize("state", ["IN_PROGRESS", "COMPLETED", "FAILED"])
async def test_a_job_that_began_in_time_goes_on(serve: Any, runpod: Any, clock: Clock, state: str) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = await accepted(client, start_timeout_s=30)
        (job,) = runpod.jobs.values()
        job.update(status=state, workerId="w1")
        clock.ahead = timedelta(seconds=31)
        await client.get(f"/v1/jobs/{job_id}")
    assert runpod.calls["cancel"] == 0


async def test_a_job_that_its_caller_cancelled_is_not_late(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id = await accepted(client, start_timeout_s=30)
        assert (await client.post(f"/v1/jobs/{job_id}/cancel")).json()["error"]["code"] == "cancelled"


async def test_runpods_callback_tells_of_the_missed_start(serve: Any, runpod: Any, clock: Clock) -> None:
    received: list[Event] = []

    def receive(request: httpx.Request) -> httpx.Response:
        received.append(Event.model_validate_json(request.content))
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    async def public(_: str, __: int) -> list[str]:
        return ["8.8.8.8"]

    pool(runpod)
    webhooks = httpx.AsyncClient(transport=httpx.MockTransport(receive))
    async with serve(clients=Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=public)) as client:
        job_id = await accepted(client, start_timeout_s=30, webhook_url="https://hooks.example.com/in")
        (sent,), (job,) = runpod.bodies["run"], runpod.jobs.values()
        clock.ahead = timedelta(seconds=31)
        ended = {"id": job["id"], "input": sent["input"], "status": "CANCELLED"}
        answer = await client.post(httpx.URL(sent["webhook"]).path, json=ended)
    assert answer.json() == {"outcome": "delivered"}
    first, last = (event.data for event in received)
    assert (first.status, last.status, last.job_id) == ("provisioning", "failed", job_id)
    assert last.error is not None
    assert last.error.code == "deadline_exceeded"


def test_the_limit_is_part_of_the_jobs_id() -> None:
    made = datetime(2026, 11, 1, tzinfo=UTC)
    ref = JobRef("ep1", "abc-u1", new_task_id(made), 90)
    assert JobRef.parse(ref.job_id("secret"), "secret") == ref
    assert ref.start_by == made + timedelta(seconds=90)
    forged = ref.job_id("secret").replace("-90_", "-91_")
    with pytest.raises(Exception, match="no such job"):
        JobRef.parse(forged, "secret")
    assert JobRef("ep1", "abc-u1", ref.task_id).job_id("secret") != ref.job_id("secret")
    assert JobRef("ep1", "abc-u1").start_by is None


async def test_a_job_goes_to_the_deployment_that_it_names(serve: Any, runpod: Any) -> None:
    pool(runpod)
    second = pool(runpod, policy=PoolPolicy.ON_DEMAND)
    body = {"deployment_id": second, "input": BODY["input"]}
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=body)
        unknown = await client.post("/v1/jobs", json={**body, "deployment_id": "nosuch"})
        foreign = await client.post(
            "/v1/jobs", json=body, headers={"Authorization": "Bearer rpa_SOMEBODYELSE00000000000000000"}
        )
        other = await client.post("/v1/jobs", json={**body, "model": "acme/other"})
        others = await client.post("/v1/jobs", json={**body, "hf_model_id": "acme/other"})
        nobody = await client.post("/v1/jobs", json={"model": "", "input": BODY["input"]})
        task = await client.post("/v1/jobs", json={**body, "input": {"task": "text2video", "prompt": "a fox"}})
    assert (answer.status_code, answer.json()["endpoint_id"], answer.json()["model"]) == (202, second, MODEL)
    assert runpod.bodies["run"][0]["input"]["model_id"] == MODEL
    assert [each.status_code for each in (unknown, foreign)] == [404, 404]
    assert unknown.json()["detail"] == foreign.json()["detail"]
    assert (other.json()["errors"][0]["field"], task.json()["code"]) == ("model", "task_not_supported")
    assert (others.json()["errors"], nobody.status_code) == (other.json()["errors"], 422)
    assert "model must not be empty" in nobody.text
    assert runpod.calls["run"] == 1
    assert KEY not in other.text
