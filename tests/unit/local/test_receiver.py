from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from pulumi_visgate.local.receiver import MAX_BODY_BYTES, Receiver, receiving
from visgate_contract.events import Event, EventData, Status
from visgate_contract.signing import WebhookSigner, derive_webhook_secret, hmac_signature
from visgate_contract.tasks import Task

SECRET = derive_webhook_secret("k" * 32, "0" * 64)
OTHER = derive_webhook_secret("k" * 32, "1" * 64)


def event(sequence: int = 0) -> Event:
    data = EventData(
        task_id="task_" + "0" * 26, sequence=sequence, status=Status.STARTED, model_id="m", task=Task.TEXT2IMG
    )
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(SECRET) as running:
        yield running


def deliver(url: str, what: Event, *, secret: str = SECRET, age_s: float = 0, body: bytes | None = None) -> int:
    sent = what.body()
    signer, sent_at = WebhookSigner((hmac_signature(secret),)), datetime.now(UTC) - timedelta(seconds=age_s)
    headers = signer.headers(what.id, sent, timestamp=sent_at)
    return httpx.post(url, content=sent if body is None else body, headers=headers, trust_env=False).status_code


def test_a_signed_event_comes_out(receiver: Receiver) -> None:
    assert deliver(receiver.url, event()) == 204
    delivery = next(receiver.deliveries(timeout_s=30))
    assert (delivery.verified, delivery.event, delivery.message_id) == (True, event(), event().id)


def test_a_repeat_is_acknowledged_and_dropped(receiver: Receiver) -> None:
    assert [deliver(receiver.url, event(n)) for n in (0, 0, 1)] == [204, 204, 204]
    found = receiver.deliveries(timeout_s=30)
    assert [next(found).event, next(found).event] == [event(0), event(1)]


def test_wrong_signatures_are_refused_and_told(receiver: Receiver) -> None:
    assert deliver(receiver.url, event(), secret=OTHER) == 401
    assert deliver(receiver.url, event(), age_s=3600) == 401
    assert deliver(receiver.url, event(), body=event(1).body()) == 401
    assert httpx.post(receiver.url, content=b"{}", trust_env=False).status_code == 401
    found = receiver.deliveries(timeout_s=30)
    assert [next(found).verified for _ in range(4)] == [False] * 4


def test_a_body_without_end_is_refused(receiver: Receiver) -> None:
    answer = httpx.post(receiver.url, content=b"x" * (MAX_BODY_BYTES + 1), trust_env=False)
    assert answer.status_code == 413


def test_the_wait_has_an_end(receiver: Receiver) -> None:
    assert list(receiver.deliveries(timeout_s=0.01)) == []
