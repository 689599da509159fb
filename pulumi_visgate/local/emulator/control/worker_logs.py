"""`getWorkerLogs`: a worker's log as server-sent events, with resume and live follow."""

import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call
from pulumi_visgate.local.emulator.clock import parse_rfc3339, rfc3339
from pulumi_visgate.local.emulator.core import Emulator
from pulumi_visgate.local.emulator.errors import not_found, unprocessable
from pulumi_visgate.local.emulator.logs import CONTAINER, SYSTEM, Cursor, LogLine, log_bell
from pulumi_visgate.local.emulator.store import Kind

_DEFAULT_TAIL = 100
_MAX_TAIL = 5000
_HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}
_COMMENT_EVERY_S = 15
_BATCH = 500


async def get_worker_logs(call: Call) -> Response:
    """Stream the log of a worker: what is asked of the past, then what comes, until the worker has ended."""
    record = call.own(Kind.ENDPOINT, call.param("id"))
    worker = call.param("workerId")
    query = call.query()
    source = query.get("source")
    if source not in {None, CONTAINER, SYSTEM}:
        raise unprocessable([f"source: must be {CONTAINER} or {SYSTEM}"])
    cursor = _cursor(query, call.request.headers.get("last-event-id"))
    if not call.emulator.fleet.knows(record.id, worker):
        noun = "worker"
        raise not_found(noun, worker)
    events = _follow(call.emulator, worker, cursor, source)
    return EventSourceResponse(events, headers=_HEADERS, ping=_COMMENT_EVERY_S, sep="\n")


def _cursor(query: dict[str, str], last_event_id: str | None) -> Cursor:
    field = "Last-Event-ID"
    try:
        if last_event_id:
            return Cursor.resume(last_event_id)
        field = "since"
        if "since" in query:
            return Cursor(from_ts=parse_rfc3339(query["since"]))
    except ValueError:
        raise unprocessable([f"{field}: must be an RFC 3339 time"]) from None
    tail = query.get("tail", str(_DEFAULT_TAIL))
    if not tail.isdecimal() or int(tail) > _MAX_TAIL:
        raise unprocessable([f"tail: must be a whole number from 0 to {_MAX_TAIL}"])
    return Cursor(tail=int(tail))


async def _follow(
    emulator: Emulator, worker: str, cursor: Cursor, source: str | None
) -> AsyncIterator[ServerSentEvent]:
    if cursor.tail is not None:
        after = emulator.logs.newest(worker)
        for line in emulator.logs.read(worker, cursor, source):
            yield _event(line)
        cursor = Cursor(after_n=after)
    while True:
        lines = emulator.logs.read(worker, cursor, source, limit=_BATCH)
        for line in lines:
            yield _event(line)
        if lines:
            cursor = Cursor(after_n=lines[-1].n)
        elif emulator.closing or emulator.fleet.get(worker) is None:
            return
        else:
            await emulator.bells.wait(log_bell(worker), timeout_s=None)


def _event(line: LogLine) -> ServerSentEvent:
    data = {"ts": rfc3339(line.ts), "source": line.source, "line": line.line}
    return ServerSentEvent(json.dumps(data, ensure_ascii=False), id=line.event_id)
