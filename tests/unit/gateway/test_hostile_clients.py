"""What no HTTP library sends: ambiguous lengths, broken heads, endless ones; on a real socket, by the real server."""

import contextlib
import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from pulumi_visgate.gateway import protocol
from pulumi_visgate.gateway.__main__ import server_config
from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.middleware import body_limit
from pulumi_visgate.gateway.state import Clients
from tests.unit.gateway.conftest import KEY

SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_S = 10.0


def post(head: bytes, body: bytes = b"") -> bytes:
    first = b"POST /v1/jobs HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
    return first + head + b"\r\n" + body


def get(path: bytes = b"/healthz", head: bytes = b"Host: x\r\n") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"
REFUSED = {
    "length and chunks": post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "chunks and length": post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two lengths": post(LENGTH + b"Content-Length: 4\r\n", b"{}" + SMUGGLED),
    "one length twice": post(LENGTH * 2, b"{}" + SMUGGLED),
    "a list of lengths": post(b"Content-Length: 2, 2\r\n", b"{}" + SMUGGLED),
    "a negative length": post(b"Content-Length: -1\r\n", SMUGGLED),
    "a length with a sign": post(b"Content-Length: +2\r\n", b"{}"),
    "a hexadecimal length": post(b"Content-Length: 0x2\r\n", b"{}"),
    "a length of another century": post(b"Content-Length: 99999999999999999999\r\n", b"{}"),
    "chunked, but not last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "nearly chunked": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunked, and then not": post(CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a folded header": post(b"X-A: a\r\n b\r\n" + LENGTH, b"{}"),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a chunk of no size": post(CHUNKED, b"xyz\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk of a size too large": post(CHUNKED, b"F" * 18 + b"\r\n{}\r\n0\r\n\r\n"),
    "chunks that end with LF": post(CHUNKED, b"2\n{}\n0\n\n" + SMUGGLED),
    "a space before the colon": post(b"Content-Length : 2\r\n", b"{}"),
    "NUL in a header": post(b"X-A: a\0b\r\n" + LENGTH, b"{}"),
    "CR in a header": post(b"X-A: a\rX-B: b\r\n" + LENGTH, b"{}"),
    "a header without a colon": post(b"nonsense\r\n" + LENGTH, b"{}"),
    "a header without a name": post(b": x\r\n" + LENGTH, b"{}"),
    "lines that end with LF": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "a version of the future": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": get(head=b""),
    "two hosts": get(head=b"Host: a\r\nHost: b\r\n"),
    "another protocol's method": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": get(b"/v1/jobs/a\0b"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
    "one header of a megabyte": get(head=b"Host: x\r\nX-A: " + b"a" * 1_000_000 + b"\r\n"),
    "a megabyte of headers": get(head=b"Host: x\r\n" + b"X-A: a\r\n" * 125_000),
    "a head that does not end": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1_000_000,
}
"""All of these are answered with one 400, and the connection ends: whatever follows is no request."""

LARGE = {"one header of a megabyte", "a megabyte of headers", "a head that does not end"}
"""Whoever is hung up on while sending may not hear why."""

ANSWERED = {
    "another host in the target": (get(b"http://169.254.169.254/latest/meta-data/"), 404),
    "folders above": (get(b"/docs/assets/../../../../etc/passwd"), 404),
    "folders above, encoded": (get(b"/docs/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), 404),
    "folders above, encoded twice": (get(b"/docs/assets/%252e%252e/%252e%252e/etc/passwd"), 404),
    "a line break in the path": (get(b"/nowhere/%0d%0aX-Injected:%201"), 404),
    "a line break in the query": (get(b"/nowhere?a=%0d%0aX-Injected:%201"), 404),
    "NUL in the path, encoded": (get(b"/nowhere/a%00b"), 404),
    "no UTF-8 in the path": (get(b"/nowhere/%ff%fe"), 404),
    "HTTP/2 without TLS": (get(head=b"Host: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), 200),
    "a wish for a WebSocket": (get(head=b"Host: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), 200),
    "a body that is announced to be too large": (
        post(b"Expect: 100-continue\r\nContent-Length: 999999999\r\nConnection: close\r\n"),
        413,
    ),
    "a packed body": (
        post(
            b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n" % len(gzip.compress(b" " * 1_000_000)),
            gzip.compress(b" " * 1_000_000),
        ),
        422,
    ),
}


@pytest.fixture
def address(new_settings: Any, runpod: Any, bucket: Any) -> Iterator[tuple[str, int]]:
    """The gateway, served as `python -m pulumi_visgate.gateway` serves it."""
    app = create_app(new_settings(), clients=Clients(runpod=runpod.transport(), store=bucket.client()))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    host, port = listener.getsockname()
    try:
        yield host, port  # what is sent before it serves waits
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()


def told(address: tuple[str, int], *parts: bytes) -> bytes:
    """Send something and return all that comes until the connection ends."""
    with socket.create_connection(address, timeout=WAIT_S) as connection:
        received = b""
        with contextlib.suppress(ConnectionError):  # hung up before everything was sent
            for part in parts:
                connection.sendall(part)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                received += part
        return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def test_what_is_no_request_or_could_be_two_is_refused_and_hung_up_on(address: Any, runpod: Any) -> None:
    heard = {name: statuses(told(address, sent)) for name, sent in REFUSED.items()}
    assert {name: got for name, got in heard.items() if got != [400] and not (name in LARGE and not got)} == {}
    assert statuses(told(address, get())) == [200]
    assert runpod.calls == {}


def test_odd_requests_are_answered_as_any_other(address: Any, runpod: Any) -> None:
    for name, (sent, status) in ANSWERED.items():
        received = told(address, sent)
        head, _, body = received.partition(b"\r\n\r\n")
        assert statuses(received) == [status], (name, received)
        assert b"\r\nx-injected" not in head.lower(), name
        assert b"root:" not in body, name
        assert b"\r\nx-content-type-options: nosniff" in head, name
    assert runpod.calls == {}


def test_where_a_request_says_it_came_to_is_not_believed(address: Any, runpod: Any) -> None:
    body = b'{"model": "visgate/tiny-sd", "input": {"prompt": "x"}}'
    head = b"X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: gopher\r\nForwarded: host=evil.test\r\n"
    sent = post(
        head + b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body), body
    )
    received = told(address, sent.replace(b"Host: gateway.test", b"Host: evil.test"))
    assert statuses(received) == [202]
    assert b"http://gateway.test/v1/jobs/" in received
    assert b"evil" not in received


@pytest.mark.parametrize(
    "begun", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", get(head=b"Host: x\r\n")[:-2]]
)
def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, address: Any, begun: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    assert told(address, begun) == b""


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, address: Any) -> None:
    monkeypatch.setattr(body_limit, "READ_S", 0.2)
    sent = post(b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: 50\r\n", b"{")
    assert statuses(told(address, sent)) == [408]


def test_a_connection_serves_one_request_after_the_other(address: Any) -> None:
    kept = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert statuses(told(address, kept, kept + kept, get())) == [200] * 4


def test_a_slow_answer_is_not_cut_off_by_what_was_sent_after_its_request(
    monkeypatch: pytest.MonkeyPatch, address: Any, runpod: Any
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    runpod.before = lambda _: time.sleep(0.5)
    asked = b"GET /v1/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n"
    assert statuses(told(address, asked + b"GET /healthz HT")) == [200]
