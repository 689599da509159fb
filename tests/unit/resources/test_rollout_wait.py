"""Waiting with a client in memory: what is asked, what is told, and what is taken back."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from pulumi_visgate.resources import _rollout_wait
from pulumi_visgate.resources._rollout import Rollout
from pulumi_visgate.resources._rollout_wait import TAIL_LINES, End, Outcome, Waiter
from pulumi_visgate.runpod.errors import BadRequest, NotFound, RunpodUnreachable
from pulumi_visgate.runpod.models.endpoint import (
    Endpoint,
    EndpointReleaseList,
    EndpointWorkerList,
    UpdateEndpoint,
)
from pulumi_visgate.runpod.models.logs import LogLine
from visgate_contract.redaction import Redactor

SECRET = "canary-of-a-worker"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Said:
    """Remembers what is reported."""

    warned: list[str] = field(default_factory=list[str])
    noted: list[str] = field(default_factory=list[str])
    shown: list[str] = field(default_factory=list[str])

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def note(self, text: str) -> None:
        self.noted.append(text)

    def status(self, text: str) -> None:
        self.shown.append(text)


class MemoryClient:
    """An endpoint whose workers go through given states, one step with each look; the last one stays."""

    def __init__(self, *steps: dict[str, str] | Exception, minimum: int = 1, former: tuple[str, ...] = ()) -> None:
        self.steps = list(steps)
        self.former = former
        self.doc: dict[str, Any] = {
            "id": "e1", "name": "sd", "image": "acme/worker:1", "args": "", "disk": 20, "ports": [],
            "env": {"TOKEN": SECRET}, "registry": None, "workers": {"min": minimum, "max": 3},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4.0}, "dataCenterIds": [], "networkVolumes": [],
            "timeout": 1000, "flashboot": "OFF", "createdAt": NOW,
        }  # fmt: skip
        self.version = 1
        self.updates: list[dict[str, Any]] = []
        self.updated = asyncio.Event()
        self.refuses: Exception | None = None
        self.closed = 0
        self.hangs: asyncio.Event | None = None

    async def get_endpoint(self, _id: str) -> Endpoint:
        return Endpoint.model_validate(self.doc)

    async def update_endpoint(self, _id: str, request: UpdateEndpoint) -> Endpoint:
        if self.refuses is not None:
            raise self.refuses
        self.updates.append(request.body())
        self.updated.set()
        self.doc |= request.body()
        self.version += 1
        return Endpoint.model_validate(self.doc)

    async def list_endpoint_releases(self, _id: str) -> EndpointReleaseList:
        if self.hangs is not None:
            await self.hangs.wait()
        step = self.steps[0]
        if isinstance(step, Exception):
            self.steps = self.steps[1:] or self.steps
            raise step
        total = len(step) + len(self.former)
        rollout = {"inProgress": True, "workersOnLatest": len(step), "workersTotal": total, "percentOnLatest": 0}
        return EndpointReleaseList.model_validate({"rollout": rollout, "releases": [], "endpointVersion": self.version})

    async def list_endpoint_workers(self, _id: str) -> EndpointWorkerList:
        step = self.steps[0]
        assert not isinstance(step, Exception)
        self.steps = self.steps[1:] or self.steps
        workers = [{"id": id_, "status": state, "isStale": False, "gpuCount": 1} for id_, state in step.items()]
        workers += [{"id": id_, "status": "IDLE", "isStale": True, "gpuCount": 1} for id_ in self.former]
        counts = dict.fromkeys(["running", "idle", "initializing", "throttled", "unhealthy", "total"], 0)
        return EndpointWorkerList.model_validate({"workers": workers, "summary": counts})

    async def get_worker_logs(self, _endpoint: str, worker: str, *, tail: int) -> AsyncGenerator[LogLine, None]:
        assert tail == TAIL_LINES
        try:
            for text in (f"{worker} starts", f"the token is {SECRET}"):
                yield LogLine.model_validate({"source": "container", "line": text, "ts": NOW})
            await asyncio.Event().wait()  # the stream stays open, as Runpod's does
        finally:
            self.closed += 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollout_wait, "pauses", lambda: lambda: 0.001)
    monkeypatch.setattr(_rollout_wait, "TAIL_TIMEOUT_S", 0.05)


def waiter(client: MemoryClient, said: Said, stop: asyncio.Event | None = None, **rollout: Any) -> Waiter:
    ticks = iter(range(100_000))
    return Waiter(
        client,
        "e1",
        Rollout(**rollout),
        said,
        stop or asyncio.Event(),
        mask=Redactor([SECRET]).line,
        clock=lambda: float(next(ticks)),
    )


CHANGE = UpdateEndpoint(image="acme/worker:2")


def test_a_change_is_made_and_waited_for() -> None:
    client, said = MemoryClient({}, {"b": "INITIALIZING"}, {"b": "IDLE"}, former=()), Said()
    outcome, back = asyncio.run(waiter(client, said).apply(CHANGE))
    assert outcome == Outcome(End.DONE)
    assert client.updates == [{"image": "acme/worker:2"}]
    assert back is not None
    assert back.body() == {"image": "acme/worker:1"}
    assert said.shown == [
        "rollout: no worker runs",
        "rollout: 1 of 1 workers on the new release (1 INITIALIZING)",
        "rollout: 1 of 1 workers on the new release (1 IDLE)",
    ]
    assert said.noted == ["rollout: done, 1 of 1 workers on the new release (1 IDLE)"]
    assert said.warned == []


def test_what_an_interrupted_run_has_changed_is_not_changed_again() -> None:
    client = MemoryClient({"a": "IDLE"})
    client.doc["image"] = "acme/worker:2"
    outcome, back = asyncio.run(waiter(client, Said()).apply(CHANGE))
    assert (outcome.end, back, client.updates) == (End.DONE, None, [])


def test_nothing_to_roll_is_said() -> None:
    client, said = MemoryClient({}, minimum=0), Said()
    assert asyncio.run(waiter(client, said).apply(CHANGE))[0].end is End.DONE
    assert said.noted == [
        "rollout: no worker runs, so there is nothing to roll; the next one starts with the new release"
    ]


def test_workers_in_trouble_are_told_once_with_the_masked_end_of_their_log() -> None:
    client, said = MemoryClient({"a": "UNHEALTHY", "b": "THROTTLED"}, former=("old",)), Said()
    outcome, _ = asyncio.run(waiter(client, said, grace_s=5).apply(CHANGE))
    assert outcome.end is End.FAILED
    assert outcome.text == "none of its workers is ready, and a has been UNHEALTHY for 5 s"
    ill, throttled = said.warned
    assert ill == (
        "rollout: worker a is UNHEALTHY; the end of its log:\n  container: a starts\n  container: the token is [masked]"
    )
    assert throttled.startswith("rollout: worker b is THROTTLED, it waits for capacity; the end of its log:")
    assert client.closed == 2
    assert SECRET not in str([said, outcome])


def test_a_silent_api_is_asked_again_and_a_deleted_endpoint_is_not() -> None:
    unreachable = RunpodUnreachable("no answer", sent=True)
    client, said = MemoryClient({}, unreachable, {"b": "IDLE"}), Said()
    assert asyncio.run(waiter(client, said).apply(CHANGE))[0].end is End.DONE
    assert any("does not answer" in text for text in said.shown)

    gone = MemoryClient({}, NotFound(404, "Not Found", "gone"))
    assert asyncio.run(waiter(gone, Said()).apply(CHANGE))[0] == Outcome(End.FAILED, "the endpoint is gone")


def test_a_look_that_takes_too_long_counts_as_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollout_wait, "LOOK_TIMEOUT_S", 0.01)
    client, said = MemoryClient({"a": "IDLE"}), Said()
    client.hangs = asyncio.Event()
    outcome = asyncio.run(waiter(client, said, timeout_s=3).wait(minimum=1))
    assert outcome == Outcome(End.FAILED, "not done after 3 s: Runpod does not answer")
    assert said.shown == ["rollout: Runpod does not answer in time"]


def test_a_refused_change_leaves_all_as_it_was() -> None:
    client = MemoryClient({"a": "IDLE"})
    client.refuses = BadRequest(400, "Bad Request", "no such registry")
    with pytest.raises(BadRequest):
        asyncio.run(waiter(client, Said()).apply(CHANGE))
    assert client.updates == []


def test_waiting_ends_when_it_is_interrupted() -> None:
    async def interrupted() -> Outcome:
        stop = asyncio.Event()
        client = MemoryClient({"b": "INITIALIZING"}, former=("old",))
        waiting = asyncio.create_task(waiter(client, Said(), stop).apply(CHANGE))
        await client.updated.wait()
        stop.set()
        return (await waiting)[0]

    outcome = asyncio.run(interrupted())
    assert outcome.end is End.INTERRUPTED
    assert outcome.text.startswith("interrupted: 1 of 2 workers")
