"""A clock that only moves when somebody sleeps, a scripted transport, and both kinds of client behind one call."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from pulumi_visgate.runpod import AsyncRunpodClient, RunpodClient
from tests.handled import Handled
from tests.unit.runpod.hostile import Behaviour, Server

_numbers = itertools.count()


class Clock:
    """Time in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class Script:
    """Answers one request after the other and keeps what was asked; the last answer repeats itself."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)


class Caller:
    """Calls an operation by name on one kind of client."""

    def __init__(self, kind: str, clock: Clock) -> None:
        self.kind = kind
        self.clock = clock
        self.key = f"rpa_TEST{next(_numbers):020d}"  # an account of its own, as quota views are shared by key

    def options(self, **changes: Any) -> dict[str, Any]:
        return {"clock": self.clock, "jitter": lambda: 0.5, **changes}

    def __call__(
        self, script: Callable[[httpx.Request], httpx.Response], operation: str, *args: Any, **options: Any
    ) -> Any:
        if self.kind == "blocking":
            with RunpodClient(
                self.key, transport=httpx.MockTransport(script), **self.options(sleep=self.clock.sleep, **options)
            ) as client:
                return getattr(client, operation)(*args)

        async def ask() -> Any:
            async with AsyncRunpodClient(
                self.key, transport=Handled(script), **self.options(sleep=self.clock.asleep, **options)
            ) as asynchronous:
                return await getattr(asynchronous, operation)(*args)

        return asyncio.run(ask())

    def lines(self, script: Callable[[httpx.Request], httpx.Response], limit: int = 100, **query: Any) -> list[Any]:
        if self.kind == "blocking":
            with RunpodClient(
                self.key, transport=httpx.MockTransport(script), **self.options(sleep=self.clock.sleep)
            ) as client:
                following = client.get_worker_logs("ep", "worker", **query)
                with contextlib.closing(following):
                    return list(itertools.islice(following, limit))

        async def follow() -> list[Any]:
            found: list[Any] = []
            async with AsyncRunpodClient(
                self.key, transport=Handled(script), **self.options(sleep=self.clock.asleep)
            ) as asynchronous:
                following = asynchronous.get_worker_logs("ep", "worker", **query)
                async with contextlib.aclosing(following):
                    async for line in following:
                        found.append(line)
                        if len(found) == limit:
                            break
            return found

        return asyncio.run(follow())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["blocking", "asynchronous"])
def caller(request: pytest.FixtureRequest, clock: Clock) -> Caller:
    return Caller(request.param, clock)


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def problem() -> Callable[..., httpx.Response]:
    """Make a problem document's answer."""

    def make(status: int, detail: str = "no", *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        body = {"title": f"Title {status}", "status": status, "detail": detail, **more}
        return httpx.Response(
            status, json=body, headers={"content-type": "application/problem+json", **(headers or {})}
        )

    return make


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def start(*behaviours: Behaviour) -> Server:
            server = stack.enter_context(Server(list(behaviours)))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            stack.callback(server.stopping.set)
            return server

        yield start


@pytest.fixture(params=["blocking", "asynchronous"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def make(url: str, operation: str, *args: Any, **options: Any) -> Any:
        settings: dict[str, Any] = {"base_url": url, "timeout_s": 5.0, "jitter": lambda: 0.0, **options}
        key = f"rpa_{request.node.name.encode().hex()[:60]}"
        if request.param == "blocking":
            with RunpodClient(key, **settings) as client:
                return getattr(client, operation)(*args)

        async def ask() -> Any:
            async with AsyncRunpodClient(key, **settings) as client:
                return await getattr(client, operation)(*args)

        return asyncio.run(ask())

    return make
