"""Following a worker's log, on both clients over a scripted transport."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse
import pytest

from pulumi_visgate import runpod
from pulumi_visgate.runpod._exchange import Fault
from pulumi_visgate.runpod.logs import LogSession
from pulumi_visgate.runpod.models.logs import LogQuery, LogSource

GONE = httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": "no such worker"})


def event(number: int, text: str = "", *, second: int | None = None) -> str:
    data = {"source": "container", "line": text or f"line {number}", "ts": f"2026-06-01T12:00:{second or number:02d}Z"}
    return f"id: {number}\ndata: {json.dumps(data)}\n\n"


def stream(*events: str) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, text="".join(events))


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks in the middle."""

    def __init__(self, text: str, error: Exception) -> None:
        self.text = text
        self.error = error

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        raise self.error

    async def __aiter__(self) -> Any:
        yield self.text.encode()
        raise self.error


def breaking(text: str, error: Exception) -> Any:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Breaking(text, error))

    return answer


def test_lines_come_in_order_until_the_worker_is_gone(caller: Any, script: Any) -> None:
    answers = script(stream(": hello\n\n", event(1), ": ping\n\n", event(2)), GONE)
    lines = caller.lines(answers, tail=5, source=LogSource.CONTAINER)
    assert [(line.id, line.line, line.source) for line in lines] == [
        ("1", "line 1", LogSource.CONTAINER),
        ("2", "line 2", LogSource.CONTAINER),
    ]
    assert str(answers.requests[0].url).endswith("/v2/serverless/ep/workers/worker/logs?source=container&tail=5")
    assert "last-event-id" not in answers.requests[0].headers
    assert answers.requests[0].headers["accept"] == "text/event-stream"


def test_a_broken_stream_is_resumed_after_its_last_line(caller: Any, script: Any) -> None:
    answers = script(breaking(event(1) + event(2), httpx.ReadError("reset")), stream(event(3)), GONE)
    assert [line.id for line in caller.lines(answers)] == ["1", "2", "3"]
    assert [request.headers.get("last-event-id") for request in answers.requests] == [None, "2", "3"]


def test_following_starts_after_a_line_known_from_before(caller: Any, script: Any) -> None:
    answers = script(stream(event(8)), GONE)
    caller.lines(answers, last_event_id="7")
    assert answers.requests[0].headers["last-event-id"] == "7"


def test_lines_that_a_resumed_stream_repeats_are_dropped(caller: Any, script: Any) -> None:
    first = event(5, "a") + event(5, "b") + event(5, "b")
    answers = script(stream(first), stream(first + event(5, "c") + event(6, "a")), GONE)
    assert [line.line for line in caller.lines(answers)] == ["a", "b", "b", "c", "a"]


def test_silence_is_no_fault_however_long(caller: Any, script: Any) -> None:
    quiet = [breaking("", httpx.ReadTimeout("quiet")) for _ in range(20)]
    answers = script(*quiet, stream(event(1)), GONE)
    assert len(caller.lines(answers)) == 1
    assert max(caller.clock.slept) <= 1.0


def test_a_stream_that_never_says_anything_is_given_up(caller: Any, script: Any) -> None:
    answers = script(stream())
    with pytest.raises(runpod.RunpodUnreachable, match="ends as soon as it is opened"):
        caller.lines(answers)
    assert len(answers.requests) == 6
    assert caller.clock.slept == [1, 2, 4, 8, 16]


def test_the_server_may_say_how_long_to_wait(caller: Any, script: Any) -> None:
    answers = script(stream("retry: 4000\n\n", event(1)), GONE)
    caller.lines(answers)
    assert caller.clock.slept == [4.0]


def test_a_worker_that_was_never_there_is_not_found(caller: Any, script: Any) -> None:
    with pytest.raises(runpod.NotFound, match="no such worker"):
        caller.lines(script(GONE))


def test_a_refused_reconnection_is_an_error(caller: Any, script: Any, problem: Any) -> None:
    with pytest.raises(runpod.Forbidden):
        caller.lines(script(stream(event(1)), problem(403)))


def test_opening_is_repeated_like_any_reading_call(caller: Any, script: Any, problem: Any) -> None:
    answers = script(httpx.ConnectError("refused"), problem(503), stream(event(1)))
    assert len(caller.lines(answers, limit=1)) == 1


def test_something_else_than_a_stream_is_refused(caller: Any, script: Any) -> None:
    with pytest.raises(runpod.UnexpectedAnswer, match="not a stream"):
        caller.lines(script(httpx.Response(200, text="<html>")))


@pytest.mark.parametrize("data", ["hush-hush", "[]", '{"source":"container","line":"hush-hush"}'])
def test_an_event_that_is_no_line_is_refused_without_being_repeated(caller: Any, script: Any, data: str) -> None:
    with pytest.raises(runpod.UnexpectedAnswer) as caught:
        caller.lines(script(stream(f"data: {data}\n\n")))
    assert "hush-hush" not in repr(caught.value)


def test_other_events_are_passed_over(caller: Any, script: Any) -> None:
    answers = script(stream("event: heartbeat\ndata: {}\n\n", "event: log\n" + event(1)), GONE)
    assert len(caller.lines(answers)) == 1


def test_stopping_early_closes_the_stream(caller: Any, script: Any) -> None:
    answers = script(stream(event(1), event(2)))
    assert len(caller.lines(answers, limit=1)) == 1
    assert len(answers.requests) == 1


def test_waits_between_connections_have_a_bound() -> None:
    session = LogSession("ep", "worker", LogQuery())
    session.line(httpx_sse.ServerSentEvent(event="", data="", id="", retry=10_000_000))
    assert session.ended(Fault("reset", sent=True)) == 30
    assert session.ended(None) == 30


def test_a_line_starts_the_count_of_fruitless_connections_again() -> None:
    session = LogSession("ep", "worker", LogQuery())
    assert [session.ended(None) for _ in range(3)] == [1, 2, 4]
    session.line(httpx_sse.ServerSentEvent(event="", data=event(1).partition("data: ")[2].strip(), id="1"))
    assert session.ended(None) == 1
