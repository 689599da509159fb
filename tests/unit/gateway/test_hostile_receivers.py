"""Receivers of webhooks that redirect, lie, never end or never answer, each as a real server on a real socket."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from pulumi_visgate.gateway import egress
from pulumi_visgate.gateway.egress import EgressPolicy

DEADLINE_S = 1.0
Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


def says(*parts: bytes) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()

    return say


def repeats(first: bytes, again: bytes, wait_s: float = 0.0) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(wait_s)

    return say


OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b" " * 20_000_000)
CASES: dict[str, tuple[Say, int | None]] = {
    "an honest one": (says(OK, b"Content-Length: 2\r\n\r\nok"), 200),
    "a packed answer": (says(OK, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB), 200),
    "an answer that does not end": (
        repeats(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
        200,
    ),
    "an answer that drips": (repeats(OK + b"Content-Length: 4000\r\n\r\n", b"x", 0.05), None),
    "a head that does not end": (repeats(OK, b"X-A: " + b"a" * 1024 + b"\r\n"), None),
    "a head that drips": (repeats(OK, b"X-A: a\r\n", 0.05), None),
    "one header that does not end": (repeats(OK + b"X-A: ", b"a" * 4096), None),
    "continue, for ever": (repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), None),
    "less than was announced": (says(OK, b"Content-Length: 10\r\n\r\nhalf"), None),
    "two lengths": (says(OK, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), None),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), None),
    "nothing at all": (says(), None),
    "silence": (repeats(b"", b"", 0.05), None),
    "a change of protocols": (says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), None),
}


class Server:
    """What was asked of a server."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[bytes] = []


@asynccontextmanager
async def serving(say: Say) -> AsyncIterator[Server]:
    found, conversations, writers = Server(), list[asyncio.Task[None]](), list[asyncio.StreamWriter]()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            found.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(len(b"{}"))
            await say(writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        conversations.append(asyncio.get_running_loop().create_task(converse(reader, writer)))
        conversations[-1].add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"
    try:
        yield found
    finally:
        server.close()
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def answered(client: httpx.AsyncClient, url: str) -> int | None:
    """The status of an answer, or None if there was none in time."""
    policy = EgressPolicy(allow_loopback=True)
    target = egress.check(url, policy)
    address = await egress.resolve(target, policy)
    try:
        async with asyncio.timeout(DEADLINE_S):
            return (await egress.post(client, target, address, body=b"{}", headers={})).status
    except (httpx.HTTPError, TimeoutError):
        return None


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with egress.new_client(timeout_s=0.5) as client:
        yield client


@pytest.mark.parametrize(("say", "status"), CASES.values(), ids=CASES)
async def test_a_request_ends_whatever_its_receiver_does(
    client: httpx.AsyncClient, say: Say, status: int | None
) -> None:
    async with serving(say) as server:
        assert await answered(client, server.url) == status
    assert server.heads


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(client: httpx.AsyncClient, status: int) -> None:
    async with serving(CASES["an honest one"][0]) as inner:
        to = b"Location: %b\r\nContent-Length: 0\r\n\r\n" % inner.url.encode()
        async with serving(says(b"HTTP/1.1 %d Elsewhere\r\n" % status, to)) as server:
            assert await answered(client, server.url) == status
    assert server.heads
    assert inner.heads == []


async def test_a_receiver_gets_no_cookie_back_and_no_credentials(client: httpx.AsyncClient) -> None:
    failing = says(b"HTTP/1.1 503 No\r\nSet-Cookie: a=canary\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with serving(failing) as server:
        assert [await answered(client, server.url) for _ in range(2)] == [503, 503]
    assert not [head for head in server.heads if b"canary" in head or b"authorization" in head.lower()]
