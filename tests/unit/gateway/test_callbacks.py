"""Runpod's completion call becomes the job's last event, once, and only where no worker has told it."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from pulumi_visgate.gateway.services import announce, callbacks
from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Event, EventData, Status
from visgate_contract.jobs import JobError, JobProgress, JobResult
from visgate_contract.ledger import Delivery, Ledger
from visgate_contract.names import user_hash
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
SECRET = derive_webhook_secret("signing-key-of-the-tests-0123456789", user_hash(KEY))
URL = "https://hooks.example.com/in?password=hunter2"
MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}, "webhook_url": URL}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "REPEAT_S", 0.001)
    monkeypatch.setattr(callbacks, "DELIVERY_S", 0.5)


class Receiver:
    """Acknowledges `provisioning`; answers everything else as it is told."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.ends: list[httpx.Request] = []
        self.address = "8.8.8.8"
        self.retry_after: str | None = None

    def handle(self, request: httpx.Request) -> httpx.Response:
        event = Event.model_validate_json(request.content)
        if event.data.status is Status.PROVISIONING:
            return httpx.Response(200, stream=httpx.ByteStream(b"ok"))
        self.ends.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {"retry-after": self.retry_after} if self.retry_after else {}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b"ok"))

    async def resolve(self, _: str, __: int) -> list[str]:
        return [self.address]

    def clients(self, runpod: Any) -> Clients:
        webhooks = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        return Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=self.resolve)


async def submitted(
    client: httpx.AsyncClient, runpod: Any, **changes: Any
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Job as the caller sees it, its callback's path, and what Runpod will send there."""
    answer = await client.post("/v1/jobs", json={**JOB, **changes})
    assert answer.status_code == 202, answer.text
    job, sent = list(runpod.jobs.values())[-1], runpod.bodies["run"][-1]
    body = {"id": job["id"], "input": sent["input"], "webhook": sent.get("webhook"), "status": "IN_QUEUE"}
    return answer.json(), urlsplit(sent.get("webhook") or "").path, body


def told(task_id: str, *statuses: Status) -> tuple[Event, ...]:
    return tuple(
        Event.of(
            EventData(task_id=task_id, sequence=n, status=status, model_id=MODEL, task=Task.TEXT2IMG),
            timestamp=datetime.now(UTC),
        )
        for n, status in enumerate(statuses, start=1)
    )


@pytest.mark.parametrize(("state", "code"), [("TIMED_OUT", "deadline_exceeded"), ("CANCELLED", "cancelled")])
async def test_a_job_that_nobody_took_is_told_of(serve: Any, runpod: Any, state: str, code: str) -> None:
    receiver = Receiver(204)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        del client.headers["Authorization"]
        answer = await client.post(path, json={**body, "status": state})
    assert (answer.status_code, answer.json()) == (200, {"outcome": "delivered"})
    (request,) = receiver.ends
    Webhook(SECRET).verify(request.content, dict(request.headers))
    event = Event.model_validate_json(request.content)
    assert request.headers["webhook-id"] == event.id
    assert (event.data.status, event.data.sequence) == (Status.FAILED, 999)
    assert (event.data.task_id, event.data.job_id) == (accepted["task_id"], accepted["job_id"])
    assert event.data.error is not None
    assert event.data.error.code == code


async def test_what_a_dead_worker_had_told_comes_before_its_end(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        progress = JobProgress(events=told(accepted["task_id"], Status.STARTED, Status.PROGRESS)).model_dump(
            mode="json"
        )
        ended = {**body, "status": "FAILED", "output": progress, "error": f"killed, with {KEY}", "workerId": "w1"}
        assert (await client.post(path, json=ended)).status_code == 200
    (request,) = receiver.ends
    event = Event.model_validate_json(request.content)
    assert event.data.sequence > 2
    assert event.data.worker_id == "w1"
    assert event.data.error is not None
    assert event.data.error.code == "worker_fatal"
    assert KEY not in request.content.decode()


async def test_what_a_worker_has_told_is_not_told_again(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        task_id = accepted["task_id"]
        ready = JobResult(task_id=task_id, events=told(task_id, Status.STARTED, Status.READY)).to_runpod()
        completed = await client.post(path, json={**body, "status": "COMPLETED", "output": ready})
        events = told(task_id, Status.STARTED, Status.FAILED)
        error = JobError(code="generation_failed", detail="no")
        failed = JobResult(task_id=task_id, error=error, events=events).to_runpod()
        failure = {**body, "status": "FAILED", "error": failed.pop("error"), "output": failed}
        answers = [completed, await client.post(path, json=failure), await client.post(path, json=body)]
    assert [answer.json() for answer in answers] == [{"outcome": "nothing_to_do"}] * 3
    assert receiver.ends == []


async def test_a_result_without_its_last_event_is_ready(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        result = JobResult(task_id=accepted["task_id"]).to_runpod()
        assert (await client.post(path, json={**body, "status": "COMPLETED", "output": result})).status_code == 200
    assert Event.model_validate_json(receiver.ends[0].content).data.status is Status.READY


async def test_a_receiver_that_fails_is_asked_again_under_the_same_id(serve: Any, runpod: Any, bucket: Any) -> None:
    receiver = Receiver(500, 302, 200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, body = await submitted(client, runpod)
        assert (await client.post(path, json={**body, "status": "CANCELLED"})).status_code == 200
        again = await client.post(path, json={**body, "status": "CANCELLED"})
        assert again.json() == {"outcome": "nothing_to_do"}
        bucket.objects.clear()
        receiver.statuses = [503]
        refused = await client.post(path, json={**body, "status": "CANCELLED"})
        receiver.statuses = [410]
        gone = await client.post(path, json={**body, "status": "CANCELLED"})
    assert (refused.status_code, refused.json()["code"]) == (502, "webhook_delivery_failed")
    assert "hunter2" not in refused.text
    assert gone.json() == {"outcome": "receiver_gone"}
    assert len(receiver.ends) > 4
    assert len({request.headers["webhook-id"] for request in receiver.ends}) == 1


async def test_a_receiver_that_moved_inside_gets_nothing(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, body = await submitted(client, runpod)
        receiver.address = "169.254.169.254"
        answer = await client.post(path, json={**body, "status": "CANCELLED"})
    assert answer.status_code == 502
    assert receiver.ends == []


async def test_an_end_is_numbered_by_the_attempts_that_the_ledger_knows(serve: Any, runpod: Any, bucket: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        ticket = body["input"]["ledger"]["ticket"]
        ledger = Ledger(task_id=accepted["task_id"], runpod_job_id=body["id"], attempt=3, ticket=ticket)
        bucket.keep(user_hash(KEY), ledger)
        assert (await client.post(path, json={**body, "status": "FAILED"})).json() == {"outcome": "delivered"}
    event = Event.model_validate_json(receiver.ends[0].content)
    assert (event.data.attempt, event.data.sequence, event.id[-9:]) == (3, 2999, "_3_failed")
    (noted,) = bucket.ledger().deliveries
    assert noted.event.id == event.id
    assert noted.delivered_at is not None


async def test_what_the_worker_told_is_not_told_again_even_if_only_the_ledger_knows(
    serve: Any, runpod: Any, bucket: Any
) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        accepted, path, body = await submitted(client, runpod)
        (end,) = told(accepted["task_id"], Status.FAILED)
        ledger = Ledger(task_id=accepted["task_id"], runpod_job_id=body["id"])
        bucket.keep(user_hash(KEY), ledger.noting(Delivery(event=end, tries=1, delivered_at=datetime.now(UTC))))
        first = await client.post(path, json={**body, "status": "FAILED"})
        assert first.json() == {"outcome": "nothing_to_do"}
        bucket.keep(user_hash(KEY), ledger.noting(Delivery(event=end, tries=4, answer="the receiver answered 503")))
        second = await client.post(path, json={**body, "status": "FAILED"})
        assert second.json() == {"outcome": "delivered"}
    assert [request.headers["webhook-id"] for request in receiver.ends] == [end.id]


async def test_what_no_receiver_takes_is_kept_with_where_it_was_to_go(serve: Any, runpod: Any, bucket: Any) -> None:
    receiver = Receiver(500)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, body = await submitted(client, runpod)
        assert (await client.post(path, json={**body, "status": "CANCELLED"})).status_code == 502
    ledger = bucket.ledger()
    assert [one.answer for one in ledger.deliveries] == ["it answered 500"]
    assert ledger.deliveries[0].tries > 1
    assert ledger.ticket is not None
    assert "hunter2" not in ledger.body().decode()


async def test_a_bucket_that_fails_does_not_keep_the_end_from_its_receiver(
    serve: Any, runpod: Any, bucket: Any
) -> None:
    receiver, bucket.status = Receiver(200), 503
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, body = await submitted(client, runpod)
        answer = await client.post(path, json={**body, "status": "CANCELLED"})
    assert answer.json() == {"outcome": "delivered"}


async def test_a_receiver_that_asks_for_more_time_than_there_is_is_not_asked_again(serve: Any, runpod: Any) -> None:
    receiver = Receiver(429)
    receiver.retry_after = "60"
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, body = await submitted(client, runpod)
        assert (await client.post(path, json={**body, "status": "CANCELLED"})).status_code == 502
    assert len(receiver.ends) == 1


async def test_a_token_is_for_one_job(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, _ = await submitted(client, runpod)
        _, _, other = await submitted(client, runpod)
        crossed = await client.post(path, json={**other, "status": "CANCELLED"})
        forged = await client.post(path[:-1] + ("A" if path[-1] != "A" else "B"), json={**other, "status": "CANCELLED"})
    assert [crossed.status_code, forged.status_code] == [404, 404]
    assert receiver.ends == []


async def test_a_report_may_be_larger_than_a_request(serve: Any, runpod: Any) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5, max_body_bytes=2048) as client:
        _, path, body = await submitted(client, runpod)
        answer = await client.post(path, json={**body, "status": "CANCELLED", "output": "x" * 100_000})
        too_large = await client.post(path, json={**body, "status": "CANCELLED", "output": "x" * 1_100_000})
    assert [answer.status_code, too_large.status_code] == [200, 413]


@pytest.mark.parametrize("body", [[], {}, {"id": 7, "status": "FAILED"}, {"id": "x"}, "text", None])
async def test_a_call_that_is_not_runpods_is_refused(serve: Any, runpod: Any, body: object) -> None:
    receiver = Receiver(200)
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        _, path, _ = await submitted(client, runpod)
        answer = await client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert receiver.ends == []


@pytest.mark.parametrize(
    ("public_url", "jobs_url", "expected"),
    [
        ("https://gateway.example.com", "https://api.runpod.ai/v2", True),
        ("http://127.0.0.1:8080", "https://api.runpod.ai/v2", False),
        ("http://localhost:8080", "https://api.runpod.ai/v2", False),
        ("http://[::1]:8080", "https://api.runpod.ai/v2", False),
        ("http://10.1.2.3", "https://api.runpod.ai/v2", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:9000/jobs/v2", True),
    ],
)
def test_runpod_is_asked_to_call_only_where_it_can(
    new_settings: Any, public_url: str, jobs_url: str, *, expected: bool
) -> None:
    assert new_settings(public_url=public_url, runpod_jobs_url=jobs_url).can_be_called_back is expected


async def test_without_a_receiver_nobody_is_called(serve: Any, runpod: Any) -> None:
    async with serve(clients=Receiver(200).clients(runpod)) as client:
        await submitted(client, runpod, webhook_url=None)
    assert "webhook" not in runpod.bodies["run"][-1]
