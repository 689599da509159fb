"""What only a real connection shows: hangs, drips, resets, refusals, and that one client keeps its connections.

The clients' clock is the real one; deadlines are short and nothing asserts how long something took.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

import pytest

from pulumi_visgate import runpod
from pulumi_visgate.runpod import AsyncRunpodClient, RetryPolicy, RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.unit.runpod.hostile import Behaviour, answers, breaks_off, drips, hangs, resets

VOLUME = CreateNetworkVolume(name="n", size=10, data_center="d")
NEW = CreateEndpoint.model_validate(
    {"name": "n", "type": "QUEUE", "image": "i", "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}}
)


@pytest.mark.parametrize("fault", [resets, breaks_off])
def test_a_broken_connection_is_tried_again_for_a_reading_call(serve: Any, call: Any, fault: Behaviour) -> None:
    server = serve(fault, answers)
    assert call(server.url, "list_endpoints") == []
    assert server.requests == 2


@pytest.mark.parametrize("fault", [resets, breaks_off])
def test_a_broken_connection_is_an_error_for_a_creation(serve: Any, call: Any, fault: Behaviour) -> None:
    server = serve(fault, answers)
    with pytest.raises(runpod.RunpodUnreachable, match="may have been carried out") as caught:
        call(server.url, "create_network_volume", VOLUME)
    assert caught.value.sent
    assert server.requests == 1


def test_a_hang_is_tried_again_for_a_reading_call(serve: Any, call: Any) -> None:
    server = serve(hangs, answers)
    assert call(server.url, "list_endpoints", retry=RetryPolicy(attempt_s=0.2)) == []
    assert server.requests == 2


@pytest.mark.parametrize("fault", [hangs, drips])
@pytest.mark.parametrize(("operation", "args"), [("list_endpoints", ()), ("create_endpoint", (NEW,))])
def test_an_answer_that_never_ends_meets_the_deadline(
    serve: Any, call: Any, fault: Behaviour, operation: str, args: Any
) -> None:
    with pytest.raises(runpod.DeadlineExceeded, match="in time"):
        call(serve(fault).url, operation, *args, timeout_s=0.3)


def test_a_refused_connection_was_never_sent(call: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(runpod.RunpodUnreachable, match="not connected") as caught:
            call(url, "create_endpoint", NEW, retry=RetryPolicy(attempts=2))
    assert not caught.value.sent


def test_one_client_uses_one_connection_for_calls_in_a_row(serve: Any) -> None:
    server = serve(answers)
    with RunpodClient("rpa_one_connection", base_url=server.url) as client:
        for _ in range(5):
            client.list_endpoints()
        client.with_timeout(3).list_endpoints()
    assert (server.requests, server.connections) == (6, 1)


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_a_log_stream_that_is_reset_is_resumed(serve: Any, kind: str) -> None:
    line = b'data: {"source":"system","line":"l","ts":"2026-06-01T12:00:00Z"}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    def one_line(number: int) -> Behaviour:
        def send(connection: socket.socket, _stopping: threading.Event) -> None:
            connection.sendall(head + b"id: %d\n" % number + line)
            connection.close()

        return send

    async def no_wait(_seconds: float) -> None:
        pass

    async def ask() -> list[str]:
        async with (
            AsyncRunpodClient("rpa_log_reset", base_url=server.url, sleep=no_wait) as client,
            contextlib.aclosing(client.get_worker_logs("ep", "w")) as log,
        ):
            return [(await anext(log)).id for _ in range(2)]

    server = serve(one_line(1), resets, one_line(2))
    if kind == "asynchronous":
        assert asyncio.run(ask()) == ["1", "2"]
    else:
        with RunpodClient("rpa_log_reset", base_url=server.url, sleep=lambda _: None) as client:
            following = client.get_worker_logs("ep", "w")
            with contextlib.closing(following):
                assert [next(following).id for _ in range(2)] == ["1", "2"]
    assert server.requests == 3


def follow(kind: str, url: str, **options: Any) -> list[str]:
    """Return the first line of a log with that deadline for opening it."""
    settings: dict[str, Any] = {"base_url": url, "retry": RetryPolicy(attempts=1), **options}
    if kind == "blocking":
        with (
            RunpodClient("rpa_follow", **settings) as client,
            contextlib.closing(client.get_worker_logs("e", "w")) as log,
        ):
            return [next(log).line]

    async def ask() -> list[str]:
        async with (
            AsyncRunpodClient("rpa_follow", **settings) as client,
            contextlib.aclosing(client.get_worker_logs("e", "w")) as log,
        ):
            return [(await anext(log)).line]

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_a_log_that_does_not_open_meets_the_deadline(serve: Any, kind: str) -> None:
    with pytest.raises(runpod.DeadlineExceeded, match="getWorkerLogs"):
        follow(kind, serve(hangs).url, timeout_s=0.2)


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_an_open_log_may_be_silent_for_longer_than_the_deadline(serve: Any, kind: str) -> None:
    def late(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        stopping.wait(0.4)
        connection.sendall(b'id: 1\ndata: {"source":"system","line":"late","ts":"2026-06-01T12:00:00Z"}\n\n')
        connection.close()

    server = serve(late)
    assert follow(kind, server.url, timeout_s=0.2) == ["late"]
    assert server.requests == 1
