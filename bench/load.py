"""A load generator that costs little: the same request over and over on kept connections, answers counted and checked.

It speaks just enough HTTP/1.1 for answers with a Content-Length, which is all that is asked for here. A full client
would take more processor time for a request than the servers that are measured.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST, ready to be sent.

    Args:
        url: Where to.
        body: JSON body.
        headers: Headers besides the usual.
        expect: What every answer has to contain.
    """

    url: str
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: bytes = b""

    def encoded(self) -> bytes:
        """Return the bytes on the wire."""
        content = json.dumps(self.body).encode()
        parts = urlsplit(self.url)
        lines = [
            f"POST {parts.path or '/'} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class _Connection(asyncio.Protocol):
    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, length = self._buffer[: end + 2], 0
        if (announced := _LENGTH.search(head)) is not None:
            length = int(announced[1])
        if len(self._buffer) < end + 4 + length:
            return
        answer, self._buffer = self._buffer, b""
        self._load.took(answer, time.perf_counter() - self._sent_at)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(exc)

    def _next(self) -> None:
        if self._transport is None:
            return
        if self._load.may_send():
            self._sent_at = time.perf_counter()
            self._transport.write(self._load.content)
        else:
            self._transport.close()


class _Load:
    def __init__(self, request: Request, count: int) -> None:
        self.content = request.encoded()
        self._expect = request.expect
        self._to_send, self._to_come = count, count
        self.times: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def may_send(self) -> bool:
        self._to_send -= 1
        return self._to_send >= 0

    def took(self, answer: bytes, seconds: float) -> None:
        if not _is_good(answer, self._expect):
            self._fail(RuntimeError(f"an answer is wrong: {answer[:400]!r}"))
            return
        self.times.append(seconds)
        self._to_come -= 1
        if not self._to_come and not self.done.done():
            self.done.set_result(None)

    def lost(self, error: Exception | None) -> None:
        if self._to_come > 0 and (error is not None or self._to_send >= 0):
            self._fail(RuntimeError(f"a connection was lost: {error!r}"))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def flood(request: Request, count: int, *, connections: int) -> list[float]:
    """Send a request many times and return how long each answer took, in seconds.

    Args:
        request: What to send.
        count: How often.
        connections: How many at the same time.

    Raises:
        RuntimeError: An answer is not what is expected, or a connection was lost.
    """
    load = _Load(request, count)
    parts = urlsplit(request.url)
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: _Connection(load), str(parts.hostname), parts.port or 80)
        for _ in range(min(connections, count))
    ]
    try:
        await load.done
    finally:
        for transport, _ in opened:
            transport.close()
    return load.times


@asynccontextmanager
async def kept(url: str) -> AsyncIterator[Callable[[Request], Awaitable[float]]]:
    """Keep one connection, and yield what sends a request over it and returns how long the answer took, in seconds.

    Args:
        url: Any address of the server.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(str(parts.hostname), parts.port or 80)

    async def ask(request: Request) -> float:
        content = request.encoded()
        sent_at = time.perf_counter()
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        announced = _LENGTH.search(head)
        body = await reader.readexactly(int(announced[1]) if announced else 0)
        took = time.perf_counter() - sent_at
        if not _is_good(head + body, request.expect):
            message = f"an answer is wrong: {(head + body)[:400]!r}"
            raise RuntimeError(message)
        return took

    try:
        yield ask
    finally:
        writer.close()


def _is_good(answer: bytes, expect: bytes) -> bool:
    found = _HEAD.match(answer)
    return found is not None and found[1][:1] == b"2" and expect in answer
