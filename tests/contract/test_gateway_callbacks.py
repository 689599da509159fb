"""Every job ends with one event, also when no worker lived to tell it: Runpod calls the gateway, which tells."""

import io
from typing import Any

import pytest

from pulumi_visgate.client import Client
from pulumi_visgate.local.receiver import Receiver, receiving
from visgate_contract.events import EventData, Status

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
NO_WORKER = "tests/an-image-that-nobody-has"


def secret_of(gateway: Any, key: str) -> str:
    with Client(gateway.url, key) as client:
        return client.webhook_secret()


def to_the_end(receiver: Receiver) -> list[EventData]:
    found: list[EventData] = []
    for delivery in receiver.deliveries(timeout_s=60):
        assert delivery.verified
        assert delivery.event is not None
        found.append(delivery.event.data)
        if found[-1].status.is_terminal:
            return found
    pytest.fail(f"no end came, only {found}")


def nothing_more(receiver: Receiver) -> bool:
    return not list(receiver.deliveries(timeout_s=1.0))


def submit(client: Any, receiver: Receiver, prompt: str = "a red fox") -> Any:
    body = {"model": MODEL, "input": {"prompt": prompt}, "webhook_url": receiver.url}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_job_that_nobody_took_ends_with_one_event(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, key = start_gateway(IMAGE=NO_WORKER), runpod_emulator.key
    with gateway.client(key) as client, receiving(secret_of(gateway, key)) as receiver:
        accepted = submit(client, receiver)
        runpod_emulator.advance(2 * 86_400)
        events = to_the_end(receiver)
        assert nothing_more(receiver)
        shown = client.get(f"/v1/jobs/{accepted['job_id']}").json()
    assert [event.status for event in events] == [Status.PROVISIONING, Status.FAILED]
    end = events[-1]
    assert end.error is not None
    assert (end.error.code, end.task_id, end.job_id) == ("deadline_exceeded", accepted["task_id"], accepted["job_id"])
    assert (shown["status"], shown["runpod_status"]) == ("failed", "TIMED_OUT")


def test_a_job_that_was_cancelled_in_the_queue_ends_with_one_event(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, key = start_gateway(IMAGE=NO_WORKER), runpod_emulator.key
    with gateway.client(key) as client, receiving(secret_of(gateway, key)) as receiver:
        accepted = submit(client, receiver)
        assert client.post(f"/v1/jobs/{accepted['job_id']}/cancel").status_code == 200
        events = to_the_end(receiver)
        assert nothing_more(receiver)
    assert [event.status for event in events] == [Status.PROVISIONING, Status.FAILED]
    assert events[-1].error is not None
    assert events[-1].error.code == "cancelled"


def test_a_job_whose_workers_all_die_ends_with_one_event(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, key = start_gateway(), runpod_emulator.key
    with gateway.client(key) as client, receiving(secret_of(gateway, key)) as receiver:
        accepted = submit(client, receiver, "die")
        events = to_the_end(receiver)
        assert nothing_more(receiver)
        streamed = gateway.follow(client, accepted["job_id"])
        again = client.post(f"/v1/jobs/{accepted['job_id']}/retry").json()
    end = events[-1]
    assert end.error is not None
    assert (end.status, end.error.code, end.sequence) == (Status.FAILED, "worker_fatal", 999)
    assert (streamed[-1].data.status, streamed[-1].data.sequence) == (Status.FAILED, end.sequence)
    assert (again["job_id"], again["status"], again["runpod_status"]) == (
        accepted["job_id"],
        "provisioning",
        "IN_QUEUE",
    )


def test_a_callback_shows_nothing_in_logs(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, key = start_gateway(IMAGE=NO_WORKER), runpod_emulator.key
    with gateway.client(key) as client, receiving(secret_of(gateway, key)) as receiver:
        job_id = submit(client, receiver)["job_id"]
        client.post(f"/v1/jobs/{job_id}/cancel")
        to_the_end(receiver)
        assert client.post("/v1/callbacks/runpod/forged", json={"id": "x", "status": "FAILED"}).status_code == 404
    gateway.close()
    log: io.StringIO = gateway.log
    lines = [line for line in log.getvalue().splitlines() if "POST /v1/callbacks/runpod/" in line]
    assert len(lines) == 2
    assert all("POST /v1/callbacks/runpod/{token} " in line for line in lines)
    assert receiver.url not in log.getvalue()
