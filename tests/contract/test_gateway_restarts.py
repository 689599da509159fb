"""A gateway that is killed at any moment of a job's life and started again: nothing is lost, nothing is there twice.

When it dies is drawn from a seed. Receivers drop repeats by `webhook-id`, as the API's page tells them to.
"""

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pulumi_visgate.client import Client
from pulumi_visgate.local.emulator.testing import EmulatorServer
from pulumi_visgate.local.receiver import Receiver, receiving
from visgate_contract.events import EventData, Status

pytestmark = [pytest.mark.contract, pytest.mark.chaos]

MODEL = "visgate/tiny-sd"
SEEDS = (23, 42, *(pytest.param(seed, marks=pytest.mark.long) for seed in (5, 31)))
LIFE_S = 3.0  # of a job here, from its request to its end
END_S = 90.0
WORDS = ("a red fox", "a lighthouse", "die")  # at the last one every worker dies, and the gateway tells the end


@pytest.fixture(scope="module")
def runpod_emulator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorServer]:
    """An emulator that calls a gateway again after some seconds, as Runpod does after ten, so that one can be back."""
    folder = tmp_path_factory.mktemp("runpod-emulator")
    options = ("--webhook-retry", "6", "--kill-grace", "3")
    with EmulatorServer(folder / "data", folder / "volumes", options) as server:
        yield server


class Restarting:
    """A gateway at one address, killed and started again at moments that a seed has drawn."""

    def __init__(self, start_gateway: Any, dice: random.Random) -> None:
        self._start = start_gateway
        self.gateway = start_gateway()
        self._where = {"PORT": str(self.gateway.port), "PUBLIC_URL": self.gateway.url}
        self._moments = [dice.uniform(0, LIFE_S) for _ in range(dice.randint(1, 2))]
        self._thread = threading.Thread(target=self._restart)

    def __enter__(self) -> "Restarting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _restart(self) -> None:
        for moment in self._moments:
            time.sleep(moment)
            self.gateway.kill()
            self.gateway = self._start(**self._where)


def submit(url: str, key: str, body: dict[str, Any], name: str) -> dict[str, Any]:
    """Ask until there is an answer, as the API's page tells clients: the same request with the same idempotency key."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": name}
    end = time.monotonic() + END_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(f"{url}/v1/jobs", json=body, headers=headers, timeout=30, trust_env=False)
            if answer.status_code == 202:
                accepted: dict[str, Any] = answer.json()
                return accepted
            assert answer.status_code in {409, 502, 503, 504}, answer.text
        time.sleep(0.1)
    pytest.fail("the gateway never answered")


def told(receiver: Receiver, *, to_the_end: bool) -> list[EventData]:
    """Return what a receiver is told by the gateway until a job's end if it tells that, and for a moment after it."""
    found = []
    for delivery in receiver.deliveries(timeout_s=END_S) if to_the_end else ():
        assert delivery.verified
        assert delivery.event is not None
        found.append(delivery.event.data)
        if found[-1].status.is_terminal:
            break
    for delivery in receiver.deliveries(timeout_s=1.0):
        assert delivery.event is not None
        found.append(delivery.event.data)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_no_event_is_lost_and_no_second_endpoint_made(start_gateway: Any, runpod_emulator: Any, seed: int) -> None:
    dice, key = random.Random(seed), runpod_emulator.new_key()
    prompt = dice.choice(WORDS)
    restarting = Restarting(start_gateway, dice)
    url = restarting.gateway.url
    with Client(url, key) as client:
        secret = client.webhook_secret()
    with receiving(secret) as receiver:
        body = {"model": MODEL, "input": {"prompt": prompt}, "webhook_url": receiver.url}
        with restarting:
            accepted = submit(url, key, body, secrets.token_hex(8))
        with restarting.gateway.client(key) as client:
            streamed = [event.data for event in restarting.gateway.follow(client, accepted["job_id"])]
            # Workers that live tell their events themselves; these here do not, so that the gateway's are seen alone.
            heard = told(receiver, to_the_end=prompt == "die")
            shown = client.get(f"/v1/jobs/{accepted['job_id']}").json()
            deployments = client.get("/v1/deployments").json()["deployments"]
    expected = Status.FAILED if prompt == "die" else Status.READY
    assert [one["endpoint_id"] for one in deployments] == [accepted["endpoint_id"]]
    # What its client was told of is this job, though an answer that was lost may have made another of the same task.
    assert {event.task_id for event in heard} <= {accepted["task_id"]}
    ends = [event.status for event in heard if event.status.is_terminal]
    assert ends == ([Status.FAILED] if prompt == "die" else [])
    assert (streamed[0].status, streamed[-1].status, shown["status"]) == (Status.PROVISIONING, expected, expected)
    assert [event.sequence for event in streamed] == sorted({event.sequence for event in streamed})
