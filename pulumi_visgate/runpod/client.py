"""The clients: the same operations, blocking (`RunpodClient`) and asynchronous (`AsyncRunpodClient`).

Operations are functions in `_requests` and `jobs`; decisions are in `_exchange`, `_policy` and `logs`. What is left
here is sending and waiting, once for each kind of client.
"""

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx
import httpx_sse
from pydantic import SecretStr

from pulumi_visgate.runpod import logs
from pulumi_visgate.runpod._call import Call, Reply
from pulumi_visgate.runpod._exchange import Attempt, Core, Exchange, Fault, Pause, Send
from pulumi_visgate.runpod._http import LIMITS, TOO_SLOW, Body, arguments, fault_of, no_cookies, opening, user_agent
from pulumi_visgate.runpod._operations import Asynchronous, Blocking, secret
from pulumi_visgate.runpod._policy import RetryPolicy
from pulumi_visgate.runpod._transport import Answer, Broken, Transport
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.logs import LogLine, LogQuery, LogSource

T = TypeVar("T")

API_URL = "https://api.runpod.io"
JOBS_URL = "https://api.runpod.ai/v2"


class RunpodClient(Blocking):
    """Blocking client of Runpod API v2 and the job API; safe to share between threads.

    Args:
        api_key: Runpod API key.
        base_url: Address of API v2.
        jobs_url: Address of the job API.
        timeout_s: Deadline of each call in seconds, waits and repeats included.
        transport: Something else than the network, for tests.
        retry: When to repeat a call.
        clock: Monotonic clock in seconds.
        sleep: How to wait.
        jitter: Source of numbers from 0 to 1.
        on_quota_wait: Told the seconds of each wait for the account's quota, before it.

    Raises:
        InvalidArgument: Key, address or deadline cannot be used.
    """

    def __init__(
        self,
        api_key: str | SecretStr,
        *,
        base_url: str = API_URL,
        jobs_url: str = JOBS_URL,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        on_quota_wait: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._core = Core(
            api_key=secret(api_key),
            base_url=base_url,
            jobs_url=jobs_url,
            timeout_s=timeout_s,
            user_agent=user_agent(),
            retry=retry or RetryPolicy(),
            clock=clock,
            jitter=jitter,
        )
        self._sleep = sleep
        self._on_quota_wait = on_quota_wait
        self._http = httpx.Client(transport=transport, limits=LIMITS, cookies=no_cookies())
        self._owns_connections = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they belong to the client this one was made from."""
        if self._owns_connections:
            self._http.close()

    def perform(self, call: Call[T]) -> T:
        """Carry out a prepared call.

        Raises:
            RunpodError: It failed, or its deadline has come.
        """
        return self._run(self._core.exchange(call), self._send)

    def get_worker_logs(
        self,
        endpoint_id: str,
        worker_id: str,
        *,
        source: LogSource | None = None,
        tail: int | None = None,
        since: datetime | None = None,
        last_event_id: str = "",
    ) -> Generator[LogLine, None, None]:
        """Follow a worker's log until the worker is gone (`getWorkerLogs`); close the generator to stop.

        Args:
            endpoint_id: Endpoint of the worker.
            worker_id: The worker.
            source: One source only.
            tail: Older lines to begin with, 0 to 5,000.
            since: Begin at this time.
            last_event_id: Begin after the line with this id.

        Raises:
            RunpodError: The log cannot be opened, or not again.
        """
        query = LogQuery(source=source, tail=tail, since=since)
        session = logs.LogSession(endpoint_id, worker_id, query, last_event_id)
        while (response := self._connected(session)) is not None:
            fault: Fault | None = None
            with contextlib.closing(response):
                session.opened(response.headers.get("content-type", ""))
                try:
                    for event in httpx_sse.EventSource(response).iter_sse():
                        if (line := session.line(event)) is not None:
                            yield line
                except httpx.RequestError as error:
                    fault = fault_of(error)
            self._sleep(session.ended(fault))

    def _connected(self, session: logs.LogSession) -> httpx.Response | None:
        opened: list[httpx.Response] = []
        try:
            self._run(self._core.exchange(session.call()), functools.partial(self._open, opened))
        except RunpodError as error:
            if not session.is_over(error):
                raise
        return opened[0] if opened else None

    def _run(self, exchange: Exchange[T], send: Callable[[Send], Reply | Fault]) -> T:
        with contextlib.closing(exchange):
            try:
                step = next(exchange)
                while True:
                    outcome: Reply | Fault | None = None
                    if isinstance(step, Pause):
                        self._pause(step)
                    else:
                        outcome = send(step)
                    step = exchange.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result

    def _pause(self, step: Pause) -> None:
        if step.for_quota:
            self._on_quota_wait(step.seconds)
        self._sleep(step.seconds)

    def _send(self, step: Send) -> Reply | Fault:
        body = Body(self._core.clock, step.timeout_s)
        try:
            with self._http.stream(**arguments(step)) as response:
                for chunk in response.iter_bytes():
                    if (fault := body.add(chunk)) is not None:
                        return fault
                return body.reply(response.status_code, response.headers)
        except httpx.RequestError as error:
            return fault_of(error)

    def _open(self, opened: list[httpx.Response], step: Send) -> Reply | Fault:
        try:
            request = self._http.build_request(**arguments(step))
            response = self._http.send(request, stream=True)
            if response.is_success:
                opened.append(response)
                return opening(response)
            with contextlib.closing(response):
                return Reply(response.status_code, response.headers, response.read())
        except httpx.RequestError as error:
            return fault_of(error)


class AsyncRunpodClient(Asynchronous):
    """Asynchronous client of Runpod API v2 and the job API, for one asyncio event loop.

    Args:
        api_key: Runpod API key.
        base_url: Address of API v2.
        jobs_url: Address of the job API.
        timeout_s: Deadline of each call in seconds, waits and repeats included.
        transport: Something else than the network, for tests.
        retry: When to repeat a call.
        clock: Monotonic clock in seconds.
        sleep: How to wait.
        jitter: Source of numbers from 0 to 1.
        on_attempt: Told of every sending of a call, before it is repeated or answered.

    Raises:
        InvalidArgument: Key, address or deadline cannot be used.
    """

    def __init__(
        self,
        api_key: str | SecretStr,
        *,
        base_url: str = API_URL,
        jobs_url: str = JOBS_URL,
        timeout_s: float = 30.0,
        transport: Transport | None = None,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_attempt: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> None:
        self._core = Core(
            api_key=secret(api_key),
            base_url=base_url,
            jobs_url=jobs_url,
            timeout_s=timeout_s,
            user_agent=user_agent(),
            retry=retry or RetryPolicy(),
            clock=clock,
            jitter=jitter,
            on_attempt=on_attempt,
        )
        self._sleep = sleep
        self._transport = transport or _network()
        self._owns_connections = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless they belong to the client this one was made from."""
        if self._owns_connections:
            await self._transport.aclose()

    async def perform(self, call: Call[T]) -> T:
        """Carry out a prepared call.

        Raises:
            RunpodError: It failed, or its deadline has come.
        """
        return await self._run(self._core.exchange(call), self._send)

    async def get_worker_logs(
        self,
        endpoint_id: str,
        worker_id: str,
        *,
        source: LogSource | None = None,
        tail: int | None = None,
        since: datetime | None = None,
        last_event_id: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        """Follow a worker's log until the worker is gone (`getWorkerLogs`); close the generator to stop.

        Args:
            endpoint_id: Endpoint of the worker.
            worker_id: The worker.
            source: One source only.
            tail: Older lines to begin with, 0 to 5,000.
            since: Begin at this time.
            last_event_id: Begin after the line with this id.

        Raises:
            RunpodError: The log cannot be opened, or not again.
        """
        query = LogQuery(source=source, tail=tail, since=since)
        session = logs.LogSession(endpoint_id, worker_id, query, last_event_id)
        while (answer := await self._connected(session)) is not None:
            fault: Fault | None = None
            async with contextlib.aclosing(answer):
                session.opened(answer.headers.get("content-type", ""))
                try:
                    async with contextlib.aclosing(_events(answer)) as events:
                        async for event in events:
                            if (line := session.line(event)) is not None:
                                yield line
                except Broken as error:
                    fault = error.fault
            await self._sleep(session.ended(fault))

    async def _connected(self, session: logs.LogSession) -> Answer | None:
        opened: list[Answer] = []
        try:
            await self._run(self._core.exchange(session.call()), functools.partial(self._open, opened))
        except RunpodError as error:
            if not session.is_over(error):
                raise
        return opened[0] if opened else None

    async def _run(self, exchange: Exchange[T], send: Callable[[Send], Awaitable[Reply | Fault]]) -> T:
        with contextlib.closing(exchange):
            try:
                step = next(exchange)
                while True:
                    step = exchange.send(await (self._sleep(step.seconds) if isinstance(step, Pause) else send(step)))
            except StopIteration as end:
                result: T = end.value
                return result

    async def _send(self, step: Send) -> Reply | Fault:
        try:
            async with asyncio.timeout(step.timeout_s):
                answer = await self._transport.send(step)
                async with contextlib.aclosing(answer):
                    return await self._read(answer, step)
        except TimeoutError:
            return TOO_SLOW
        except Broken as error:
            return error.fault

    async def _open(self, opened: list[Answer], step: Send) -> Reply | Fault:
        try:
            async with asyncio.timeout(step.timeout_s):
                answer = await self._transport.send(step, silence_s=logs.HEARTBEAT_S)
                head = Reply(answer.status, answer.headers, b"")
                if head.ok:
                    opened.append(answer)
                    return head
                async with contextlib.aclosing(answer):
                    return await self._read(answer, step)
        except TimeoutError:
            return TOO_SLOW
        except Broken as error:
            return error.fault

    async def _read(self, answer: Answer, step: Send) -> Reply | Fault:
        body = Body(self._core.clock, step.timeout_s)
        while part := await answer.read():
            if (fault := body.add(part)) is not None:
                return fault
        return body.reply(answer.status, answer.headers)


def _network() -> Transport:
    from pulumi_visgate.runpod._aiohttp import AiohttpTransport  # noqa: PLC0415, a blocking client never needs it

    return AiohttpTransport()


def _events(answer: Answer) -> AsyncGenerator[httpx_sse.ServerSentEvent, None]:
    """Return the events of a stream, whose parser is that of the blocking client and reads httpx's answers."""

    async def parts() -> AsyncGenerator[bytes, None]:
        while part := await answer.read():
            yield part

    headers = {"content-type": answer.headers["content-type"]}
    return httpx_sse.EventSource(httpx.Response(answer.status, headers=headers, content=parts())).aiter_sse()
