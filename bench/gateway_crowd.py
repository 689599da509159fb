"""A crowd at the gateway, all at once: listeners on one log, warm hits, and a client that reads nothing."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import psutil

from bench.gateway_servers import AUTHORIZATION, JOB, Servers
from bench.load import flood
from bench.report import Measurement, percentile

LISTENERS = 1_000
WARM_HITS = 10_000
CONNECTIONS = 64
LINES = 5
SETTLE_S = 120.0
_LINE = b"event: log"


class _Listener(asyncio.Protocol):
    """Counts the lines of one stream.

    Args:
        head: The request.
    """

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._rest = b""
        self.lines = 0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._head)

    def data_received(self, data: bytes) -> None:
        text = self._rest + data
        self.lines += text.count(_LINE)
        self._rest = text[max(text.rfind(_LINE) + 1, len(text) - len(_LINE) + 1) :]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True


async def measure(servers: Servers) -> list[Measurement]:
    """Put all of them to the gateway at the same time, and tell how it fared.

    Raises:
        RuntimeError: A request failed, or a listener was let down.
    """
    process = psutil.Process(servers.gateway_pid)
    await flood(servers.job(servers.gateway), WARM_HITS // 5, connections=CONNECTIONS)
    alone = _resident(process)
    async with _listening(servers, await _job(servers)) as listeners:
        with _silent(servers):
            await _until(lambda: min(listener.lines for listener in listeners) > 0, "a line for every listener")
            before = _resident(process)
            samples: list[float] = []
            watch = asyncio.create_task(_watch(process, samples))
            counted = [listener.lines for listener in listeners]
            began = time.perf_counter()
            times = await flood(servers.job(servers.gateway), WARM_HITS, connections=CONNECTIONS)
            took = time.perf_counter() - began
            await _until(
                lambda: min(now.lines - then for now, then in zip(listeners, counted, strict=True)) >= LINES,
                f"{LINES} more lines for every listener",
            )
            watch.cancel()
            after = _resident(process)
    return [
        Measurement.of("gateway.crowd.listeners", len(listeners), "streams"),
        Measurement.of("gateway.crowd.lost", sum(listener.is_lost for listener in listeners), "streams"),
        Measurement.of("gateway.crowd.warm_hits", WARM_HITS / took, "requests/s"),
        Measurement.of("gateway.crowd.warm_hit_ms.p99", percentile(times, 99) * 1000, "ms"),
        Measurement.of("gateway.crowd.memory_mb.alone", alone, "MiB"),
        Measurement.of("gateway.crowd.memory_mb", after, "MiB", anchor=before),
        Measurement.of("gateway.crowd.memory_mb.peak", max([*samples, after]), "MiB", anchor=before),
    ]


async def _job(servers: Servers) -> str:
    async with (
        aiohttp.ClientSession(headers=AUTHORIZATION) as session,
        session.post(f"{servers.gateway}/v1/jobs", json=JOB) as answer,
    ):
        job_id: str = (await answer.json())["job_id"]
        return job_id


def _head(servers: Servers, path: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {urlsplit(servers.gateway).netloc}", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in AUTHORIZATION.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@asynccontextmanager
async def _listening(servers: Servers, job_id: str) -> AsyncIterator[list[_Listener]]:
    """Follow the log of one job many times; a stream that ends before the block does is an error.

    Raises:
        RuntimeError: The gateway let a listener down.
    """
    address = urlsplit(servers.gateway)
    head = _head(servers, f"/v1/jobs/{job_id}/logs")
    loop = asyncio.get_running_loop()
    host, port = str(address.hostname), address.port or 80
    opened = [await loop.create_connection(lambda: _Listener(head), host, port) for _ in range(LISTENERS)]
    try:
        listeners = [listener for _, listener in opened]
        yield listeners
        if lost := sum(listener.is_lost for listener in listeners):
            message = f"{lost} of {LISTENERS} listeners lost their stream"
            raise RuntimeError(message)
    finally:
        for transport, _ in opened:
            transport.abort()


@contextmanager
def _silent(servers: Servers) -> Iterator[None]:
    """Ask for an endless log of long lines, and read nothing of it."""
    address = urlsplit(servers.gateway)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((address.hostname, address.port))
        client.sendall(_head(servers, "/v1/endpoints/bench0chatty/logs"))
        yield


async def _until(is_so: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(SETTLE_S):
            while not is_so():  # noqa: ASYNC110 - what is waited for happens in another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        message = f"there was not {what} within {SETTLE_S:g} s"
        raise RuntimeError(message) from None


async def _watch(process: psutil.Process, samples: list[float]) -> None:
    while True:
        samples.append(_resident(process))
        await asyncio.sleep(0.1)


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)
