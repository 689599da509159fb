import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from visgate_contract.events import Event, EventData, Status
from visgate_contract.signing import WebhookSigner, derive_webhook_secret, hmac_signature, retry_after_s
from visgate_contract.tasks import Task
from visgate_worker.events import Deliverer, DeliveryPolicy
from visgate_worker.link import ActiveJob

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Request, Server

SECRET = derive_webhook_secret("a signing key of a test platform", "0" * 64)
SIGNER = WebhookSigner((hmac_signature(SECRET),))
POLICY = DeliveryPolicy(
    attempt_timeout_s=2, event_deadline_s=2, terminal_deadline_s=2, first_wait_s=0.01, max_wait_s=0.05
)
S = Status


def event(sequence: int, status: Status, task: str = "a") -> Event:
    task_id = "task_" + task * 26
    data = EventData(task_id=task_id, sequence=sequence, status=status, model_id="m", task=Task.TEXT2IMG)
    return Event.of(data, timestamp=datetime.now(UTC))


STORY = tuple(event(n, status) for n, status in enumerate((S.PROVISIONING, S.STARTED, S.PROGRESS, S.PROGRESS, S.READY)))


@pytest.fixture
async def make_deliverer() -> AsyncIterator[Callable[..., Deliverer]]:
    made: list[Deliverer] = []

    def make(policy: DeliveryPolicy = POLICY) -> Deliverer:
        made.append(Deliverer(SIGNER, policy=policy))
        return made[-1]

    yield make
    for deliverer in made:
        await deliverer.drain(0)
        await deliverer.close()


def submit(deliverer: Deliverer, url: str, *events: Event) -> None:
    """Begin the job of some events, and queue them."""
    task_id = events[0].data.task_id
    deliverer.begin(
        ActiveJob(
            runpod_job_id=task_id, job_id=None, task_id=task_id, model_id="m", task=Task.TEXT2IMG, webhook_url=url
        )
    )
    for one in events:
        deliverer.submit(task_id, one)


def sequences(requests: "list[Request]") -> list[int]:
    return [request.json()["data"]["sequence"] for request in requests]


async def test_events_arrive_in_order_and_the_public_library_verifies_them(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer]
) -> None:
    server, deliverer = make_server(), make_deliverer()
    submit(deliverer, server.url, *STORY[:3])
    assert await deliverer.drain(10)
    assert sequences(server.requests) == [0, 1, 2]
    for request, one in zip(server.requests, STORY, strict=False):
        assert Webhook(SECRET).verify(request.body.decode(), request.headers)["type"] == one.type
        assert request.headers["webhook-id"] == one.id


async def test_a_failed_attempt_is_repeated_with_the_same_id_and_body_and_order_is_kept(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    statuses = [500, 404, 200, 200]
    server, deliverer = make_server(lambda _: answer_of(status=statuses.pop(0))), make_deliverer()
    submit(deliverer, server.url, *STORY[:2])
    assert await deliverer.drain(10)
    assert sequences(server.requests) == [0, 0, 0, 1]
    assert len({request.headers["webhook-id"] for request in server.requests[:3]}) == 1
    assert len({request.body for request in server.requests[:3]}) == 1


async def test_a_redirect_is_a_failure_and_is_not_followed(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    elsewhere = make_server()
    answers = [answer_of(status=307, headers={"location": elsewhere.url}), answer_of()]
    server, deliverer = make_server(lambda _: answers.pop(0)), make_deliverer()
    submit(deliverer, server.url, STORY[0])
    assert await deliverer.drain(10)
    assert len(server.requests) == 2
    assert elsewhere.requests == []


async def test_retry_after_is_obeyed(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    answers = [answer_of(status=503, headers={"retry-after": "1"}), answer_of()]
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def answer(_: object) -> Any:
        times.append(loop.time())
        return answers.pop(0)

    server, deliverer = make_server(answer), make_deliverer()
    submit(deliverer, server.url, STORY[0])
    assert await deliverer.drain(10)
    assert times[1] - times[0] >= 1


async def test_a_wait_beyond_the_deadline_gives_up_at_once(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    answers = [answer_of(status=429, headers={"retry-after": "3600"}), answer_of()]
    server, deliverer = make_server(lambda _: answers.pop(0)), make_deliverer()
    submit(deliverer, server.url, *STORY[:2])
    assert await deliverer.drain(10)
    assert sequences(server.requests) == [0, 1]


async def test_a_receiver_that_is_gone_is_not_asked_again(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    server, deliverer = make_server(lambda _: answer_of(status=410)), make_deliverer()
    submit(deliverer, server.url, *STORY)
    assert await deliverer.drain(10)
    assert len(server.requests) == 1


async def test_the_end_overtakes_progress_that_is_in_its_way_and_nothing_else(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    free = threading.Event()
    server = make_server(lambda _: answer_of(before=lambda: free.wait(10)))
    deliverer = make_deliverer(DeliveryPolicy(attempt_timeout_s=10))
    submit(deliverer, server.url, *STORY)
    await asyncio.to_thread(server.until, bool)
    free.set()
    assert await deliverer.drain(10)
    assert sequences(server.requests) == [0, 1, 4]


async def test_a_full_queue_drops_progress_only(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    free = threading.Event()
    server = make_server(lambda _: answer_of(before=lambda: free.wait(10)))
    deliverer = make_deliverer(DeliveryPolicy(attempt_timeout_s=10, queue_limit=4))
    story = [event(0, S.PROVISIONING), event(1, S.STARTED), *(event(n, S.PROGRESS) for n in range(2, 50))]
    submit(deliverer, server.url, *story)
    await asyncio.to_thread(server.until, bool)
    free.set()
    assert await deliverer.drain(10)
    assert sequences(server.requests)[:2] == [0, 1]
    assert 2 < len(server.requests) <= 6


async def test_a_slow_receiver_of_one_job_does_not_hold_up_another(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    free = threading.Event()
    slow = make_server(lambda _: answer_of(before=lambda: free.wait(10)))
    quick, deliverer = make_server(), make_deliverer(DeliveryPolicy(attempt_timeout_s=10))
    submit(deliverer, slow.url, event(1, S.STARTED, "a"))
    submit(deliverer, quick.url, event(1, S.STARTED, "b"))
    await asyncio.to_thread(quick.until, bool)
    free.set()
    assert await deliverer.drain(10)


async def test_a_receiver_that_never_answers_is_given_up(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    free = threading.Event()
    server = make_server(lambda _: answer_of(before=lambda: free.wait(30)))
    policy = DeliveryPolicy(attempt_timeout_s=0.05, terminal_deadline_s=0.2, first_wait_s=0.01)
    deliverer = make_deliverer(policy)
    submit(deliverer, server.url, STORY[-1])
    assert await deliverer.drain(10)
    free.set()
    assert server.requests


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[broken", "ftp://host/", "nonsense"])
async def test_a_dead_or_broken_receiver_is_given_up(make_deliverer: Callable[..., Deliverer], url: str) -> None:
    policy = DeliveryPolicy(event_deadline_s=0.1, first_wait_s=0.01)
    deliverer = make_deliverer(policy)
    submit(deliverer, url, STORY[0])
    assert await deliverer.drain(10)


async def test_what_is_left_at_the_end_of_the_worker_is_dropped(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer], answer_of: Callable[..., Any]
) -> None:
    server, deliverer = make_server(lambda _: answer_of(status=500)), make_deliverer(DeliveryPolicy())
    submit(deliverer, server.url, STORY[-1])
    await asyncio.to_thread(server.until, bool)
    assert not await deliverer.drain(0.05)


async def test_a_job_that_runs_again_is_delivered_again(
    make_server: "Callable[..., Server]", make_deliverer: Callable[..., Deliverer]
) -> None:
    server, deliverer = make_server(), make_deliverer()
    submit(deliverer, server.url, STORY[-1])
    submit(deliverer, server.url, STORY[1])
    await asyncio.to_thread(server.until, lambda requests: len(requests) == 2)
    assert await deliverer.drain(10)
    assert sorted(sequences(server.requests)) == [1, 4]


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        (None, None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
