import asyncio
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pulumi_visgate.client import AsyncClient, Client
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Artifact, Event, EventData, EventError, Progress, Status
from visgate_contract.tasks import Task

KEY = "rpa_SECRETSECRETSECRETSECRET"
URL = "https://gw.test"
PICTURE = b"\x89PNG not really" * 100
Handler = Callable[[httpx.Request], httpx.Response]


class Blocking:
    """The asynchronous client, called as the blocking one is, so that every test holds for both."""

    def __init__(self, client: AsyncClient, runner: "asyncio.Runner") -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            started = getattr(self._client, name)(*args, **options)
            return self._all(started) if hasattr(started, "__anext__") else self._runner.run(started)

        return call

    def _all(self, stream: Any) -> Iterator[Any]:
        async def one() -> list[Any]:
            return [found async for found in stream]

        return iter(self._runner.run(one()))


def copied(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Pauses(list[float]):
    """Notes how long a client would have waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)

    async def asynchronous(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture(params=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest, pauses: Pauses) -> Iterator[Callable[..., Any]]:
    """Makes a client whose requests go to a function."""
    with asyncio.Runner() as runner:
        opened: list[AsyncClient] = []

        def client(handler: Handler, **options: Any) -> Any:
            # A fresh one each time: a response that was read by one client is of no use to the other.
            transport = httpx.MockTransport(lambda asked: copied(handler(asked)))
            if request.param == "blocking":
                return Client(URL, KEY, transport=transport, pause=pauses, **options)
            opened.append(AsyncClient(URL, KEY, transport=transport, pause=pauses.asynchronous, **options))
            return Blocking(opened[-1], runner)

        yield client
        for one in opened:
            runner.run(one.aclose())


def event(sequence: int, status: Status, **more: Any) -> Event:
    data = EventData(
        task_id="task_" + "0" * 26, sequence=sequence, status=status, model_id="m/x", task=Task.TEXT2IMG, **more
    )
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def artifact() -> Artifact:
    return Artifact(
        url="https://cdn.test/0.png",
        content_type="image/png",
        width=64,
        height=64,
        size_bytes=len(PICTURE),
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        seed=7,
    )


@pytest.fixture
def job(artifact: Artifact) -> list[Event]:
    """The events of a job that went well."""
    return [
        event(0, Status.PROVISIONING),
        event(1, Status.STARTED),
        event(2, Status.PROGRESS, progress=Progress(step=4, steps=8)),
        event(3, Status.READY, artifacts=(artifact,)),
    ]


@pytest.fixture
def failed_job() -> list[Event]:
    error = EventError(code=ErrorCode.WORKER_FATAL, detail="The worker died.", hint="Try again.", log_tail=("Killed",))
    return [event(0, Status.PROVISIONING), event(999, Status.FAILED, error=error)]
