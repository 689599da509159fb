"""What became of a job's events, and sending them again with one call."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from pulumi_visgate.gateway.services import announce
from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Event, EventData, EventError, Progress, Status
from visgate_contract.ledger import Delivery, Ledger
from visgate_contract.names import user_hash
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
OTHER = "rpa_CANARYKEY0000000000000000000002"
SECRET = derive_webhook_secret("signing-key-of-the-tests-0123456789", user_hash(KEY))
URL = "https://hooks.example.com/in?password=hunter2"
MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}, "webhook_url": URL}
S = Status


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "REPEAT_S", 0.001)


class Receivers:
    """Receivers of the world; each answers with its status."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, stream=httpx.ByteStream(b"ok"))

    async def resolve(self, host: str, _: int) -> list[str]:
        return ["10.0.0.1"] if host.startswith("inside") else ["8.8.8.8"]

    def clients(self, runpod: Any) -> Clients:
        webhooks = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        return Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=self.resolve)

    def sequences(self) -> list[int]:
        return [json.loads(request.content)["data"]["sequence"] for request in self.requests]


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


async def submitted(client: httpx.AsyncClient, runpod: Any, **changes: Any) -> tuple[dict[str, Any], Ledger]:
    """A job, and its ledger as a worker would begin it."""
    answer = await client.post("/v1/jobs", json={**JOB, **changes})
    assert answer.status_code == 202, answer.text
    given = runpod.bodies["run"][-1]["input"]
    runpod_job_id = list(runpod.jobs)[-1]
    ticket = given["ledger"].get("ticket")
    return answer.json(), Ledger(task_id=given["task_id"], runpod_job_id=runpod_job_id, ticket=ticket)


def event(ledger: Ledger, sequence: int, status: Status, job_id: str = "job_x", **more: Any) -> Event:
    data = EventData(
        task_id=ledger.task_id,
        job_id=job_id,
        sequence=sequence,
        status=status,
        model_id=MODEL,
        task=Task.TEXT2IMG,
        **more,
    )
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


def arrived(one: Event) -> Delivery:
    return Delivery(event=one, tries=1, delivered_at=datetime.now(UTC))


def missed(one: Event) -> Delivery:
    return Delivery(event=one, tries=5, answer="the receiver answered 503")


def story(ledger: Ledger, *, end: Any = missed) -> Ledger:
    return ledger.noting(
        arrived(event(ledger, 0, S.PROVISIONING)),
        missed(event(ledger, 1, S.STARTED)),
        missed(event(ledger, 2, S.PROGRESS, progress=Progress(step=1, steps=2))),
        end(event(ledger, 3, S.READY)),
    )


async def test_what_never_arrived_is_sent_again_in_order_and_signed(
    serve: Any, runpod: Any, bucket: Any, receivers: Receivers
) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, ledger = await submitted(client, runpod)
        bucket.keep(user_hash(KEY), story(ledger))
        receivers.requests.clear()
        path = f"/v1/jobs/{job['job_id']}/webhook"
        shown = (await client.get(path)).json()
        answer = await client.post(f"{path}/replay")
        after = (await client.get(path)).json()
    assert receivers.sequences() == [1, 3]
    for request in receivers.requests:
        assert str(request.url.copy_with(host="hooks.example.com")) == URL
        Webhook(SECRET).verify(request.content, dict(request.headers))
        assert request.headers["webhook-id"] == Event.model_validate_json(request.content).id
    assert [one["sequence"] for one in shown["deliveries"]] == [0, 1, 2, 3]
    assert [one["delivered_at"] is not None for one in shown["deliveries"]] == [True, False, False, False]
    assert shown["deliveries"][3]["detail"] == "the receiver answered 503"
    assert (answer.status_code, answer.json()["delivered"]) == (200, True)
    assert [one["delivered_at"] is not None for one in after["deliveries"]] == [True, True, False, True]
    assert "hunter2" not in json.dumps([shown, answer.json(), after])


async def test_if_all_arrived_the_end_is_sent_again(serve: Any, runpod: Any, bucket: Any, receivers: Receivers) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, ledger = await submitted(client, runpod)
        told = (arrived(event(ledger, 1, S.STARTED)), arrived(event(ledger, 2, S.READY)))
        bucket.keep(user_hash(KEY), ledger.noting(*told))
        receivers.requests.clear()
        await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay", json={})
        assert receivers.sequences() == [2]
        await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay", json={"events": "all"})
        assert receivers.sequences() == [2, 0, 1, 2]


async def test_long_after_runpod_has_forgotten_the_ledger_knows(
    serve: Any, runpod: Any, bucket: Any, receivers: Receivers
) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, ledger = await submitted(client, runpod)
        bucket.keep(user_hash(KEY), story(ledger))
        runpod.jobs.clear()
        receivers.requests.clear()
        answer = await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay")
    assert answer.json()["delivered"] is True
    assert receivers.sequences() == [1, 3]


async def test_without_a_ledger_runpods_own_result_is_told_to_whom_the_caller_names(
    serve: Any, runpod: Any, receivers: Receivers
) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, _ = await submitted(client, runpod, webhook_url=None)
        runpod.jobs[list(runpod.jobs)[-1]]["status"] = "CANCELLED"
        path = f"/v1/jobs/{job['job_id']}/webhook/replay"
        unknown = await client.post(path)
        inside = await client.post(path, json={"webhook_url": "https://inside.example.com/"})
        answer = await client.post(path, json={"webhook_url": "https://other.example.com/hook"})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "webhook_url")
    assert (inside.status_code, inside.json()["code"]) == (422, "webhook_url_refused")
    assert answer.json()["delivered"] is True
    (request,) = receivers.requests
    told = Event.model_validate_json(request.content).data
    assert (told.status, told.error.code if told.error else None) == (S.FAILED, "cancelled")
    assert request.headers["host"] == "other.example.com"


async def test_a_receiver_that_still_fails_is_told_and_later_events_wait(
    serve: Any, runpod: Any, bucket: Any, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5, deadline_s=0.5) as client:
        job, ledger = await submitted(client, runpod)
        bucket.keep(user_hash(KEY), story(ledger))
        receivers.requests.clear()
        receivers.status = 500
        answer = (await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay")).json()
    assert answer["delivered"] is False
    assert [one["detail"] for one in answer["deliveries"]] == [
        "it answered 500",
        "not tried: the one before did not arrive",
    ]
    assert set(receivers.sequences()) == {1}


async def test_a_job_that_nobody_knows_is_not_found(serve: Any, runpod: Any, receivers: Receivers) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, _ = await submitted(client, runpod)
        runpod.jobs.clear()
        for answer in (
            await client.get(f"/v1/jobs/{job['job_id']}/webhook"),
            await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_another_user_sees_and_sends_nothing(serve: Any, runpod: Any, bucket: Any, receivers: Receivers) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        job, ledger = await submitted(client, runpod)
        bucket.keep(user_hash(KEY), story(ledger))
        receivers.requests.clear()
        client.headers["Authorization"] = f"Bearer {OTHER}"
        seen = await client.get(f"/v1/jobs/{job['job_id']}/webhook")
        sent = await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay")
    assert [seen.status_code, sent.status_code] == [404, 404]
    assert receivers.requests == []


async def test_a_ledger_that_somebody_changed_sends_to_nobody_else(
    serve: Any, runpod: Any, bucket: Any, receivers: Receivers
) -> None:
    async with serve(clients=receivers.clients(runpod), announce_wait_s=5) as client:
        _, other = await submitted(client, runpod)
        job, ledger = await submitted(client, runpod)
        bucket.keep(user_hash(KEY), story(ledger.model_copy(update={"ticket": other.ticket})))
        receivers.requests.clear()
        answer = await client.post(f"/v1/jobs/{job['job_id']}/webhook/replay")
    assert answer.status_code == 422
    assert receivers.requests == []


async def test_a_receiver_of_fals_form_gets_its_form(
    serve: Any, runpod: Any, bucket: Any, receivers: Receivers
) -> None:
    async with serve(clients=receivers.clients(runpod)) as client:
        sent = await client.post(
            f"/fal/{MODEL}?fal_webhook={URL}", json={"prompt": "x"}, headers={"Authorization": f"Key {KEY}"}
        )
        job_id = sent.json()["request_id"]
        given = runpod.bodies["run"][-1]["input"]
        ledger = Ledger(task_id=given["task_id"], runpod_job_id="x", ticket=given["ledger"].get("ticket"))
        error = EventError(code="generation_failed", detail="It broke.")
        bucket.keep(user_hash(KEY), ledger.noting(missed(event(ledger, 3, S.FAILED, job_id, error=error))))
        answer = await client.post(f"/v1/jobs/{job_id}/webhook/replay")
    assert answer.json()["delivered"] is True, answer.text
    (request,) = receivers.requests
    assert json.loads(request.content)["status"] == "ERROR"
    assert request.headers["x-fal-webhook-request-id"] == job_id


async def test_a_job_without_a_receiver_has_a_ledger_all_the_same(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        await submitted(client, runpod, webhook_url=None)
    given = runpod.bodies["run"][-1]["input"]["ledger"]
    assert "ticket" not in given
    assert "X-Amz-Signature" in given["get_url"]
    assert f"/.visgate/ledger/{user_hash(KEY)[:16]}/" in given["put_url"]
