"""Servers and proxies that misbehave, on real sockets, against both clients: what was certainly not sent, what may be.

A create is repeated only when it provably did not happen, so every case says which of the two it is.
"""

import asyncio
import gzip
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from pulumi_visgate import runpod
from pulumi_visgate.runpod import AsyncRunpodClient, RetryPolicy, RunpodClient, _aiohttp
from pulumi_visgate.runpod.models.job import JobRequest
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.unit.runpod.hostile import EMPTY, OK, Behaviour, answers, resets

VOLUME = CreateNetworkVolume(name="n", size=10, data_center="d")
ONCE = RetryPolicy(attempts=1)
Stop = threading.Event


def says(*parts: bytes) -> Behaviour:
    """Send something and hang up."""

    def behave(connection: socket.socket, _stopping: Stop) -> None:
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_RDWR)

    return behave


def says_and_stays(text: bytes) -> Behaviour:
    def behave(connection: socket.socket, _stopping: Stop) -> None:
        connection.sendall(text)

    return behave


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
FAULTS = {
    "hangs up": says(),
    "resets": resets,
    "half a status line": says(b"HTTP/1.1 20"),
    "half the headers": says(HEAD),
    "half a body": says(OK[:-4]),
    "half a chunk": says(HEAD, b"transfer-encoding: chunked\r\n\r\n10\r\n{"),
    "a wrong chunk": says(HEAD, b"transfer-encoding: chunked\r\n\r\nxyz\r\n"),
    "no HTTP": says(b"220 smtp.example ESMTP\r\n"),
    "two lengths": says(HEAD, b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "broken gzip": says(HEAD, b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd"),
    "endless headers": says(HEAD, b"x: y\r\n" * 100_000),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_create_that_may_have_arrived_is_sent_once(serve: Any, call: Any, fault: Behaviour) -> None:
    server = serve(fault, answers)
    with pytest.raises(runpod.RunpodUnreachable) as caught:
        call(server.url, "create_network_volume", VOLUME)
    assert caught.value.sent
    assert server.requests == 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_reading_call_is_sent_as_often_as_its_policy_says(serve: Any, call: Any, fault: Behaviour) -> None:
    server = serve(fault, fault, answers)
    assert call(server.url, "list_endpoints", retry=RetryPolicy(attempts=3)) == []
    assert server.requests == 3


def in_a_row(kind: str, url: str, *calls: tuple[str, tuple[Any, ...]]) -> None:
    """Make calls with one client, each sent at most once."""
    options: dict[str, Any] = {"base_url": url, "jobs_url": url, "retry": ONCE}
    key = f"rpa_{kind}_{url[-5:]}"

    async def ask() -> None:
        async with AsyncRunpodClient(key, **options) as client:
            for operation, args in calls:
                await getattr(client, operation)(*args)

    if kind == "asynchronous":
        asyncio.run(ask())
        return
    with RunpodClient(key, **options) as client:
        for operation, args in calls:
            getattr(client, operation)(*args)


# What an HTTP library may send again by itself, for a kept connection that broke before a word of an answer came.
ON_A_KEPT_CONNECTION = [
    ("list_endpoints", ()),
    ("delete_endpoint", ("ep",)),
    ("create_network_volume", (VOLUME,)),
    ("run_job", ("ep", JobRequest(input={}))),
]


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
@pytest.mark.parametrize(("operation", "args"), ON_A_KEPT_CONNECTION)
@pytest.mark.parametrize("fault", [FAULTS["hangs up"], resets], ids=["hangs up", "resets"])
def test_nothing_is_sent_again_behind_the_clients_back(
    serve: Any, kind: str, operation: str, args: Any, fault: Behaviour
) -> None:
    server = serve(answers, fault, answers)
    with pytest.raises(runpod.RunpodUnreachable) as caught:
        in_a_row(kind, server.url, ("list_endpoints", ()), (operation, args))
    assert caught.value.sent
    assert (server.requests, server.connections) == (2, 1)


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
@pytest.mark.parametrize("end", [FAULTS["hangs up"], resets], ids=["hangs up", "resets"])
def test_nothing_is_sent_into_a_connection_that_has_ended(serve: Any, kind: str, end: Behaviour) -> None:
    ended = threading.Event()

    def answers_and_ends(connection: socket.socket, stopping: Stop) -> None:
        connection.sendall(OK)
        read.wait(10)
        end(connection, stopping)
        ended.set()

    read = threading.Event()
    server = serve(answers_and_ends, answers)
    options: dict[str, Any] = {"base_url": server.url, "retry": ONCE}

    def wait() -> None:
        read.set()
        assert ended.wait(10)

    async def ask() -> None:
        async with AsyncRunpodClient(f"rpa_ended_{kind}", **options) as client:
            await client.list_endpoints()
            wait()  # in the loop's own thread, which so learns nothing of the end
            await client.list_endpoints()

    if kind == "asynchronous":
        asyncio.run(ask())
        return
    with RunpodClient(f"rpa_ended_{kind}", **options) as client:
        client.list_endpoints()
        wait()
        client.list_endpoints()


def test_an_answer_that_nobody_asked_for_answers_nobody(serve: Any) -> None:
    said, extra = threading.Event(), b'{"endpoints":"of somebody else"}'

    def answers_twice(connection: socket.socket, stopping: Stop) -> None:
        connection.sendall(OK)
        asked_again.wait(10)
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(extra) + extra)
        said.set()
        stopping.wait(10)

    asked_again = threading.Event()
    server = serve(answers_twice, answers)

    async def ask() -> list[Any]:
        async with AsyncRunpodClient("rpa_extra", base_url=server.url, retry=ONCE) as client:
            await client.list_endpoints()
            asked_again.set()
            await asyncio.to_thread(said.wait, 10)
            for _ in range(10):  # the loop looks at its sockets once a turn
                await asyncio.sleep(0)
            return await client.list_endpoints()

    assert asyncio.run(ask()) == []
    assert server.connections == 2


def test_redirects_are_not_followed(serve: Any, call: Any) -> None:
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    server = serve(says_and_stays(moved))
    with pytest.raises(runpod.RunpodApiError):
        call(server.url, "create_network_volume", VOLUME)
    assert server.requests == 1


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_a_cookie_is_not_sent_back(serve: Any, kind: str) -> None:
    sets = says_and_stays(b"HTTP/1.1 200 OK\r\nset-cookie: canary=1; path=/\r\ncontent-length: 16\r\n\r\n" + EMPTY)
    server = serve(sets)

    in_a_row(kind, server.url, ("list_endpoints", ()), ("list_endpoints", ()))
    assert len(server.heads) == 2
    assert not [head for head in server.heads if b"canary" in head]


def test_a_small_answer_that_grows_is_given_up(serve: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_visgate.runpod._http._MAX_BODY", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    server = serve(says(HEAD, b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb), bomb))
    with pytest.raises(runpod.RunpodUnreachable, match="longer than 1000000 bytes"):
        call(server.url, "list_endpoints", retry=ONCE)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_body_of_any_size_arrives_whole(serve: Any, call: Any, size: int) -> None:
    sent = {"prompt": "ä😀" * size, "nothing": None}
    server = serve(
        says_and_stays(b"HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\n" + b'{"id":"j","status":"IN_QUEUE"}\n')
    )
    call("http://unused.test", "run_job", "ep", JobRequest(input=sent), jobs_url=server.url, timeout_s=60.0)
    assert json.loads(server.bodies[0]) == {"input": sent}
    assert b"content-type: application/json\r\n" in server.heads[0].lower()


def test_a_name_that_does_not_exist_was_never_sent_to(call: Any) -> None:
    with pytest.raises(runpod.RunpodUnreachable, match="not connected") as caught:
        call("http://runpod.invalid", "create_network_volume", VOLUME, retry=ONCE, timeout_s=30.0)
    assert not caught.value.sent


def test_a_full_pool_is_no_sending(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aiohttp, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(_aiohttp, "CONNECT_S", 0.1)
    begun = threading.Event()

    def hangs(_connection: socket.socket, stopping: Stop) -> None:
        begun.set()
        stopping.wait(30)

    server = serve(hangs)

    async def ask() -> None:
        async with AsyncRunpodClient("rpa_pool", base_url=server.url, retry=ONCE) as client:
            first = asyncio.create_task(client.create_network_volume(VOLUME))
            await asyncio.to_thread(begun.wait, 10)
            try:
                await client.create_network_volume(VOLUME)
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)

    with pytest.raises(runpod.DeadlineExceeded, match="no connection in time") as caught:
        asyncio.run(ask())
    assert not caught.value.sent
    assert server.requests == 1


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@pytest.fixture
def tls(serve: Any, authority: trustme.CA) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = serve(answers)
    server.tls = context
    return server


def test_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent(call: Any, tls: Any) -> None:
    with pytest.raises(runpod.RunpodUnreachable, match="not connected") as caught:
        call(tls.url.replace("http:", "https:"), "create_network_volume", VOLUME, retry=ONCE)
    assert not caught.value.sent
    assert tls.requests == 0


def test_an_authority_can_be_named_in_the_environment(
    call: Any, tls: Any, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert call(tls.url.replace("http:", "https:"), "list_endpoints") == []


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def use(url: str, **others: str) -> None:
        monkeypatch.setenv("https_proxy", url)
        monkeypatch.setenv("http_proxy", url)
        for name, value in others.items():
            monkeypatch.setenv(name, value)

    return use


def test_the_proxy_of_the_environment_is_used(serve: Any, call: Any, proxied: Any) -> None:
    server = serve(answers)
    proxied(server.url)
    assert call("http://runpod.invalid", "list_endpoints") == []
    assert server.heads[0].startswith(b"GET http://runpod.invalid/v2/serverless HTTP/1.1\r\n")


@pytest.mark.parametrize("spared", ["127.0.0.1", "*"])
def test_an_address_can_be_spared_the_proxy(serve: Any, call: Any, proxied: Any, spared: str) -> None:
    server = serve(answers)
    proxied("http://proxy.invalid:1", no_proxy=spared)
    assert call(server.url, "list_endpoints") == []


def test_a_proxy_that_refuses_or_is_not_there_sends_nothing(serve: Any, call: Any, proxied: Any) -> None:
    server = serve(says(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"))
    proxied(server.url)
    with pytest.raises(runpod.RunpodUnreachable, match="the proxy did not let it through") as caught:
        call("https://runpod.invalid", "create_network_volume", VOLUME, retry=ONCE)
    assert not caught.value.sent
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxied(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(runpod.RunpodUnreachable) as caught:
            call("https://runpod.invalid", "create_network_volume", VOLUME, retry=ONCE)
    assert not caught.value.sent
    assert server.requests == 1


def test_what_a_proxy_is_told_is_not_told_again(serve: Any, call: Any, proxied: Any) -> None:
    server = serve(says(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"))
    proxied(server.url.replace("http://", "http://user:canary-password@"))
    with pytest.raises(runpod.RunpodUnreachable) as caught:
        call("https://runpod.invalid", "create_network_volume", VOLUME, retry=ONCE)
    assert b"rpa_" not in b"".join(server.heads)
    assert "canary" not in f"{caught.value!r} {caught.value.__context__!r}"
