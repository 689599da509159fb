"""Idempotency keys in several gateways over one bucket: who goes on, who waits, and what a dead gateway leaves."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services.claims import KEEP_S, MARGIN_S, Claim, Claims
from pulumi_visgate.gateway.services.orders import Accepted, Warmth
from pulumi_visgate.gateway.services.store import ArtifactStore
from tests.unit.gateway.test_job_reading import ledger_of
from tests.unit.gateway.test_jobs import BODY, KEY, event, pool
from visgate_contract.events import Status
from visgate_contract.names import user_hash

USER = user_hash(KEY)
REQUEST_S = 30.0
TASK, LATER = "task_" + "0" * 26, "task_" + "1" * 26
ANSWER = Accepted(Warmth.ACCEPTED_COLD, TASK, "ep1", "visgate/tiny-sd", "job_ep1_x_y")
HEADERS = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(new_settings: Any, bucket: Any, clock: Clock) -> Callable[[], Claims]:
    """A gateway's claims; each call is another process."""
    return lambda: Claims(ArtifactStore(new_settings(), bucket.client()), request_s=REQUEST_S, clock=clock)


async def opened(claims: Claims, *, key: str = "k", request: str = "body", task_id: str = TASK) -> Claim:
    found = await claims.open(USER, key, request, task_id)
    assert isinstance(found, Claim)
    return found


async def test_of_two_that_find_nothing_one_goes_on(process: Any) -> None:
    one, other = await opened(process()), await opened(process())
    await one.take()
    await one.take()  # an order that is placed anew
    with pytest.raises(Refused) as refused:
        await other.take()
    assert refused.value.status == 409
    await one.settle(ANSWER)
    assert await process().open(USER, "k", "body", LATER) == Accepted(
        Warmth.ACCEPTED_COLD, TASK, "ep1", "visgate/tiny-sd", "job_ep1_x_y", replayed=True
    )


async def test_a_repeat_of_a_running_request_waits_and_another_one_is_refused(process: Any) -> None:
    await (await opened(process())).take()
    with pytest.raises(Refused) as busy:
        await process().open(USER, "k", "body", LATER)
    assert (busy.value.status, busy.value.headers) == (409, {"Retry-After": "1"})
    with pytest.raises(InvalidField, match="another request"):
        await process().open(USER, "k", "other body", LATER)
    assert isinstance(await process().open(user_hash("rpa_SOMEBODYELSE"), "k", "body", LATER), Claim)


async def test_what_failed_may_be_sent_again_or_replaced(process: Any) -> None:
    first = await opened(process())
    await first.take()
    await first.release()
    again = await opened(process(), task_id=LATER)
    assert again.repeats == TASK
    assert (await opened(process(), request="other body")).repeats is None
    await again.take()
    await again.settle(ANSWER)
    assert isinstance(await process().open(USER, "k", "body", TASK), Accepted)


async def test_a_dead_process_is_succeeded_by_one(process: Any, clock: Clock) -> None:
    await (await opened(process())).take()
    clock.now += REQUEST_S + MARGIN_S
    one, other = await opened(process(), task_id=LATER), await opened(process(), task_id=LATER)
    assert one.repeats == other.repeats == TASK
    await other.take()
    with pytest.raises(Refused):
        await one.take()


async def test_whoever_was_too_slow_writes_over_nobody(
    process: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    slow = await opened(process())
    await slow.take()
    clock.now += REQUEST_S + MARGIN_S
    quick = await opened(process())
    await quick.take()
    await slow.release()
    assert "taken by another process" in caplog.text
    with pytest.raises(Refused):
        await process().open(USER, "k", "body", LATER)


async def test_an_answer_is_forgotten_after_a_day(process: Any, clock: Clock) -> None:
    claim = await opened(process())
    await claim.take()
    await claim.settle(ANSWER)
    clock.now += KEEP_S - 1
    assert isinstance(await process().open(USER, "k", "body", LATER), Accepted)
    clock.now += 1
    anew = await opened(process(), request="other body")
    await anew.take()


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"version": 2}', b"\xff"])
async def test_what_cannot_be_read_is_taken_over(process: Any, bucket: Any, junk: bytes) -> None:
    await (await opened(process())).take()
    (name,) = bucket.objects
    bucket.objects[name] = junk
    anew = await opened(process())
    await anew.take()
    assert json.loads(bucket.objects[name])["task_id"] == TASK


async def test_what_is_kept_tells_neither_key_nor_request(process: Any, bucket: Any) -> None:
    claim = await opened(process(), key="guessable", request="a red fox")
    await claim.take()
    ((name, content),) = bucket.objects.items()
    assert name.startswith(f".visgate/ledger/{USER[:16]}/keys/")
    for secret in ("guessable", "a red fox", KEY, USER):
        assert secret not in name + content.decode()


async def test_two_gateways_accept_one_job(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve() as one, serve() as other:
        answers = await asyncio.gather(
            *(client.post("/v1/jobs", json=BODY, headers=HEADERS) for client in (one, other) for _ in range(3))
        )
        repeats = [await client.post("/v1/jobs", json=BODY, headers=HEADERS) for client in (one, other)]
        changed = await other.post("/v1/jobs", json={**BODY, "region": "EU"}, headers=HEADERS)
    async with serve() as restarted:
        repeats.append(await restarted.post("/v1/jobs", json=BODY, headers=HEADERS))
    assert runpod.calls["run"] == 1
    (first,) = (
        answer for answer in answers if answer.status_code == 202 and "idempotent-replayed" not in answer.headers
    )
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert [(each.status_code, each.headers["idempotent-replayed"]) for each in repeats] == [(202, "true")] * 3
    assert {each.text for each in repeats} == {first.text}
    assert (changed.status_code, changed.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_what_was_refused_is_written_nowhere(serve: Any, runpod: Any, bucket: Any) -> None:
    runpod.answers["list_endpoints"] = httpx.Response(401, json={"title": "x", "status": 401, "detail": "wrong key"})
    async with serve() as client:
        refused = await client.post("/v1/jobs", json=BODY, headers=HEADERS)
    assert (refused.status_code, bucket.objects) == (401, {})


def _died(bucket: Any) -> str:
    """Make the one claim in a bucket that of a gateway that died before it could answer; return its task."""
    (name,) = (name for name in bucket.objects if "/keys/" in name)
    record = json.loads(bucket.objects[name])
    del record["accepted"]
    record["busy_until"] = time.time() - 1
    bucket.objects[name] = json.dumps(record).encode()
    return str(record["task_id"])


async def test_the_job_of_a_gateway_that_died_is_found_in_its_ledger(serve: Any, runpod: Any, bucket: Any) -> None:
    pool(runpod)
    async with serve() as client:
        first = (await client.post("/v1/jobs", json=BODY, headers=HEADERS)).json()
    (job,) = runpod.jobs.values()
    task_id = _died(bucket)
    bucket.keep(USER, ledger_of(job, event(job, 1, Status.STARTED, job_id=first["job_id"])))
    async with serve() as successor:
        again = await successor.post("/v1/jobs", json=BODY, headers=HEADERS)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert (again.json()["job_id"], again.json()["task_id"]) == (first["job_id"], task_id)
    assert runpod.calls["run"] == 1


@pytest.mark.parametrize("told", [None, "job_somebody_elses_job"])
async def test_a_job_that_no_worker_has_begun_is_sent_again_under_its_task(
    serve: Any, runpod: Any, bucket: Any, told: str | None
) -> None:
    pool(runpod)
    async with serve() as client:
        await client.post("/v1/jobs", json=BODY, headers=HEADERS)
    (job,) = runpod.jobs.values()
    task_id = _died(bucket)
    bucket.keep(USER, ledger_of(job, event(job, 1, Status.STARTED, job_id=told)))
    async with serve() as successor:
        again = await successor.post("/v1/jobs", json=BODY, headers=HEADERS)
    assert (again.status_code, again.json()["task_id"]) == (202, task_id)
    assert [sent["input"]["task_id"] for sent in runpod.bodies["run"]] == [task_id, task_id]


async def test_a_bucket_that_fails_refuses_nobody(
    serve: Any, runpod: Any, bucket: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pool(runpod)
    bucket.status = 503
    async with serve() as client:
        answers = [await client.post("/v1/jobs", json=BODY, headers=HEADERS) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert runpod.calls["run"] == 1
    assert "known to this process only: the store answered 503" in caplog.text
