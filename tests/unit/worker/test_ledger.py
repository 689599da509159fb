"""The ledger of a job, over a store that keeps one object and receivers that fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.events import Event, EventData, Status
from visgate_contract.ledger import MAX_DELIVERIES, Delivery, Ledger, LedgerGrant
from visgate_contract.signing import WebhookSigner, derive_webhook_secret, hmac_signature
from visgate_contract.tasks import Task
from visgate_worker.events import Deliverer, DeliveryPolicy
from visgate_worker.link import ActiveJob, Attempt

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Request, Server

SIGNER = WebhookSigner((hmac_signature(derive_webhook_secret("a signing key of a test platform", "0" * 64)),))
POLICY = DeliveryPolicy(event_deadline_s=0.05, terminal_deadline_s=0.05, first_wait_s=0.01, max_wait_s=0.02)
TASK_ID = "task_" + "0" * 26
S = Status


def event(sequence: int, status: Status, attempt: int = 1) -> Event:
    data = EventData(
        task_id=TASK_ID, attempt=attempt, sequence=sequence, status=status, model_id="m", task=Task.TEXT2IMG
    )
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


class Bucket:
    """A store with one object, and every state that it has had."""

    def __init__(self, make_server: "Callable[..., Server]", answer_of: Callable[..., Any]) -> None:
        self.states: list[Ledger] = []
        self.statuses: list[int] = []
        self.answer_of = answer_of
        self.server = make_server(self.answer)

    def answer(self, request: "Request") -> Any:
        if self.statuses:
            return self.answer_of(status=self.statuses.pop(0))
        if request.method == "PUT":
            assert request.headers["content-type"] == "application/json"
            self.states.append(Ledger.model_validate_json(request.body))
            return self.answer_of()
        return self.answer_of(body=self.now.body()) if self.states else self.answer_of(status=404)

    @property
    def now(self) -> Ledger:
        return self.states[-1]

    @property
    def grant(self) -> LedgerGrant:
        return LedgerGrant(get_url=f"{self.server.url}/get", put_url=f"{self.server.url}/put", ticket="sealed")


@pytest.fixture
def bucket(make_server: "Callable[..., Server]", answer_of: Callable[..., Any]) -> Bucket:
    return Bucket(make_server, answer_of)


class Worker:
    """A worker's deliverer and what it was told."""

    def __init__(self, bucket: Bucket, receiver: str | None, policy: DeliveryPolicy) -> None:
        self.attempts: list[Attempt] = []
        self.deliverer = Deliverer(SIGNER, policy=policy, answer=self.attempts.append)
        self._bucket = bucket
        self._receiver = receiver

    def begin(self, runpod_job_id: str = "job-1") -> None:
        self.deliverer.begin(
            ActiveJob(
                runpod_job_id=runpod_job_id,
                job_id=None,
                task_id=TASK_ID,
                model_id="m",
                task=Task.TEXT2IMG,
                webhook_url=self._receiver,
                ledger=self._bucket.grant,
            )
        )

    async def does(self, *events: Event, runpod_job_id: str = "job-1") -> int:
        """Begin the job and tell its events; return the number of the attempt."""
        self.begin(runpod_job_id)
        number = await self.deliverer.attempt_of(runpod_job_id)
        for one in events:
            self.deliverer.submit(runpod_job_id, one)
        return number


@pytest.fixture
async def make_worker(bucket: Bucket) -> AsyncIterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(receiver: str | None = None, policy: DeliveryPolicy = POLICY) -> Worker:
        made.append(Worker(bucket, receiver, policy))
        return made[-1]

    yield make
    for worker in made:
        await worker.deliverer.drain(0)
        await worker.deliverer.close()


def outcomes(ledger: Ledger) -> list[tuple[int, bool]]:
    return [(one.event.data.sequence, one.delivered_at is not None) for one in ledger.deliveries]


async def test_the_first_attempt_is_claimed_before_anything_is_told(
    bucket: Bucket, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker()
    assert await worker.does() == 1
    await asyncio.to_thread(bucket.server.until, lambda _: bool(bucket.states))
    assert (bucket.now.attempt, bucket.now.runpod_job_id, bucket.now.ticket) == (1, "job-1", "sealed")
    assert worker.attempts == [Attempt(runpod_job_id="job-1", number=1)]


async def test_what_arrives_is_noted_with_its_time(
    bucket: Bucket, make_worker: Callable[..., Worker], make_server: "Callable[..., Server]"
) -> None:
    receiver = make_server()
    worker = make_worker(receiver.url)
    await worker.does(event(1, S.STARTED), event(2, S.READY))
    assert await worker.deliverer.drain(10)
    assert outcomes(bucket.now) == [(1, True), (2, True)]
    assert bucket.now.deliveries[1].tries == 1


async def test_what_does_not_arrive_is_kept_with_the_reason(
    bucket: Bucket,
    make_worker: Callable[..., Worker],
    make_server: "Callable[..., Server]",
    answer_of: Callable[..., Any],
) -> None:
    receiver = make_server(lambda _: answer_of(status=503))
    worker = make_worker(receiver.url)
    await worker.does(event(1, S.STARTED), event(2, S.READY))
    assert await worker.deliverer.drain(10)
    assert outcomes(bucket.now) == [(1, False), (2, False)]
    assert {one.answer for one in bucket.now.deliveries} == {"the receiver answered 503"}
    assert receiver.url not in bucket.now.body().decode()


async def test_a_wait_that_is_asked_for_and_too_long_leaves_the_event_in_the_ledger(
    bucket: Bucket,
    make_worker: Callable[..., Worker],
    make_server: "Callable[..., Server]",
    answer_of: Callable[..., Any],
) -> None:
    receiver = make_server(lambda _: answer_of(status=429, headers={"retry-after": "3600"}))
    worker = make_worker(receiver.url)
    await worker.does(event(2, S.READY))
    assert await worker.deliverer.drain(10)
    assert outcomes(bucket.now) == [(2, False)]
    assert len(receiver.requests) == 1


async def test_a_worker_that_has_to_end_leaves_the_rest_in_the_ledger(
    bucket: Bucket,
    make_worker: Callable[..., Worker],
    make_server: "Callable[..., Server]",
    answer_of: Callable[..., Any],
) -> None:
    receiver = make_server(lambda _: answer_of(status=500))
    worker = make_worker(receiver.url, DeliveryPolicy())
    await worker.does(event(1, S.STARTED), event(2, S.READY))
    await asyncio.to_thread(receiver.until, bool)
    assert not await worker.deliverer.drain(0.05)
    assert outcomes(bucket.now) == [(1, False), (2, False)]
    assert bucket.now.deliveries[1].answer == "the worker had to end"


async def test_a_job_that_comes_back_is_another_attempt_and_forgets_nothing(
    bucket: Bucket, make_worker: Callable[..., Worker]
) -> None:
    first, second = make_worker(), make_worker()
    assert await first.does(event(1, S.STARTED), event(2, S.FAILED)) == 1
    await first.deliverer.drain(10)
    assert await second.does(event(1001, S.STARTED, 2), event(1002, S.READY, 2)) == 2
    await second.deliverer.drain(10)
    assert bucket.now.attempt == 2
    assert [sequence for sequence, _ in outcomes(bucket.now)] == [1, 2, 1001, 1002]


async def test_an_attempt_whose_worker_died_at_once_counts(bucket: Bucket, make_worker: Callable[..., Worker]) -> None:
    first, second = make_worker(), make_worker()
    await first.does()
    await asyncio.to_thread(bucket.server.until, lambda _: bool(bucket.states))
    assert await second.does() == 2


async def test_the_same_worker_may_get_its_job_back(bucket: Bucket, make_worker: Callable[..., Worker]) -> None:
    worker = make_worker()
    assert await worker.does(event(2, S.FAILED)) == 1
    assert await worker.does(event(1002, S.FAILED, 2)) == 2
    assert await worker.deliverer.drain(10)
    assert [sequence for sequence, _ in outcomes(bucket.now)] == [2, 1002]


async def test_what_was_done_is_not_done_again(
    bucket: Bucket, make_worker: Callable[..., Worker], make_server: "Callable[..., Server]"
) -> None:
    receiver = make_server()
    bucket.states.append(
        Ledger(task_id=TASK_ID, runpod_job_id="job-1", deliveries=(Delivery(event=event(2, S.READY)),))
    )
    worker = make_worker(receiver.url)
    assert await worker.does() == 1
    assert worker.attempts == [Attempt(runpod_job_id="job-1", number=1, finished=event(2, S.READY))]
    assert await worker.deliverer.drain(10)
    assert [request.json()["data"]["sequence"] for request in receiver.requests] == [2]
    assert outcomes(bucket.now) == [(2, True)]


async def test_the_same_request_sent_twice_tells_the_same_events(
    bucket: Bucket, make_worker: Callable[..., Worker]
) -> None:
    first, second = make_worker(), make_worker()
    await first.does()
    await asyncio.to_thread(bucket.server.until, lambda _: bool(bucket.states))
    assert await second.does(runpod_job_id="job-2") == 1
    await second.deliverer.drain(10)
    assert bucket.now.runpod_job_id == "job-1"


async def test_a_late_entry_of_a_former_attempt_does_not_undo_the_next(
    bucket: Bucket, make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visgate_worker.ledger.FRESH_S", 0)
    first, second = make_worker(), make_worker()
    await first.does()
    await asyncio.to_thread(bucket.server.until, lambda _: bool(bucket.states))
    assert await second.does() == 2
    await asyncio.to_thread(bucket.server.until, lambda _: bucket.now.attempt == 2)
    first.deliverer.submit("job-1", event(2, S.FAILED))
    assert await first.deliverer.drain(10)
    assert (bucket.now.attempt, outcomes(bucket.now)) == (2, [(2, False)])


@pytest.mark.parametrize("statuses", [[500, 500, 500], [403], [404]])
async def test_a_store_that_has_none_or_fails_holds_nobody_up(
    bucket: Bucket, make_worker: Callable[..., Worker], statuses: list[int]
) -> None:
    bucket.statuses = statuses
    assert await make_worker().does() == 1


async def test_a_ledger_that_is_none_is_begun_anew(
    bucket: Bucket, make_worker: Callable[..., Worker], answer_of: Callable[..., Any]
) -> None:
    bucket.server.answer = lambda _: answer_of(body=b"<html>")
    assert await make_worker().does() == 1


def test_too_many_deliveries_lose_progress_first() -> None:
    from visgate_contract.events import Progress

    many = [
        Delivery(event=event(n, S.PROGRESS).model_copy(update={"data": event(n, S.PROGRESS).data.model_copy(
            update={"progress": Progress(step=n, steps=999)})}))
        for n in range(1, MAX_DELIVERIES + 1)
    ]  # fmt: skip
    ledger = Ledger(task_id=TASK_ID).noting(Delivery(event=event(0, S.PROVISIONING)), *many)
    ended = ledger.noting(Delivery(event=event(500, S.READY)))
    assert [one.event.data.status for one in ended.deliveries] == [S.PROVISIONING, S.READY]
    assert ended.end() == event(500, S.READY)
