"""Server-sent events: the events of a job, and the logs of its worker or of an endpoint."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import Gauge
from pydantic import BaseModel

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.event_stream import EventStream
from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.problems import problem_of
from pulumi_visgate.gateway.routes.deployments import EndpointId
from pulumi_visgate.gateway.routes.jobs import JobId
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.services import deployments, limits, log_tunnel
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.log_cursor import MAX_CHARACTERS, Cursor
from pulumi_visgate.gateway.services.log_tunnel import Lines, Tunnel
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.services.waiting import Waiting
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import VisgateError
from visgate_contract.events import Event
from visgate_contract.ledger import Ledger
from visgate_contract.signing import JobRef

router = APIRouter(tags=["streams"])

LOOK_S = 3.0
"""How often it is looked why a job waits, in seconds."""

_RETRY = b"retry: 2000\n"
_LOG_ID = re.compile(rf"[!-~]{{1,{MAX_CHARACTERS}}}")
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Resume after this event.", max_length=MAX_CHARACTERS)
]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
_OVER: dict[int | str, dict[str, Any]] = {204: {"description": "The stream has ended, and everything was seen."}}


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventStream,
    responses={**_STREAM, **_OVER, **problems(404)},
)
async def events(job_id: JobId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None) -> Response:
    """Stream a job's events in order; each is what a webhook delivers, its id is the sequence.

    While the job waits, events `waiting` without an id tell why, as `waiting` of the job does.
    """
    state = State.of(request)
    ref = caller.ref(job_id)
    first = await _status(state, caller, ref)
    timeline = await timeline_of(state, caller, ref, job_id)
    if timeline.lacks_end(first):
        timeline.ledger = await _ledger(state, caller, ref)
    seen = int(last_event_id) if last_event_id and re.fullmatch(r"[0-9]{1,9}", last_event_id) else -1
    if first.done and all(event.data.sequence <= seen for event in timeline.events(first)):
        return Response(status_code=204)
    statuses = state.follower.statuses(caller, ref, first)
    look, ledger = partial(_looked, state, caller, ref), partial(_ledger, state, caller, ref)
    shown = partial(state.jobs.event, caller)
    return _stream(state, _events(statuses, timeline, seen, shown=shown, look=look, ledger=ledger))


@router.get(
    "/v1/jobs/{job_id}/logs",
    summary="Follow the log of a job's worker",
    response_class=EventStream,
    responses={**_STREAM, **problems(404)},
)
async def job_logs(
    job_id: JobId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None
) -> Response:
    """Stream the log of the worker that runs a job, from the job's submission to its end, secrets masked."""
    state = State.of(request)
    ref = caller.ref(job_id)
    first = await _status(state, caller, ref)
    tunnel = _tunnel(state, caller, ref.endpoint_id, last_event_id, since=log_tunnel.start_of(ref))
    return _stream(state, _log(tunnel, tunnel.job(ref, first)))


@router.get(
    "/v1/endpoints/{endpoint_id}/logs",
    summary="Follow the logs of an endpoint",
    response_class=EventStream,
    responses={**_STREAM, **problems(404)},
)
async def endpoint_logs(
    endpoint_id: EndpointId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None
) -> Response:
    """Stream the logs of all workers of one of your endpoints until you hang up, secrets masked."""
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        await state.observer.health(caller, endpoint_id)
    tunnel = _tunnel(state, caller, endpoint_id, last_event_id)
    return _stream(state, _log(tunnel, tunnel.endpoint()))


def _tunnel(
    state: State, caller: Caller, endpoint_id: str, last_event_id: str | None, *, since: datetime | None = None
) -> Tunnel:
    seen = last_event_id if last_event_id and _LOG_ID.fullmatch(last_event_id) else ""
    return Tunnel(
        caller,
        endpoint_id,
        feeds=state.feeds,
        observer=state.observer,
        follower=state.follower,
        cursor=Cursor(seen),
        since=since,
    )


async def _status(state: State, caller: Caller, ref: JobRef) -> JobStatus:
    async with deadline(state.settings.deadline_s):
        try:
            return await state.follower.begin(caller, ref)
        except NotFound:
            return await state.jobs.forgotten(caller, ref)


def _stream(state: State, content: AsyncGenerator[bytes, None]) -> EventStream:
    counted = _counted(state.metrics.streams, _closing_with_problem(content))
    return EventStream(counted, heartbeat_s=state.settings.heartbeat_s, streams=state.streams)


async def _counted(streams: Gauge, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    with streams.track_inprogress():
        async with aclosing(content):
            async for some in content:
                yield some


async def _closing_with_problem(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Open the stream at once, pass it on, and end it with a problem event where it fails.

    How soon to come back is said with the first event: some clients take a `retry` alone for an event.
    """
    yield b": connected\n\n"
    retry = _RETRY
    try:
        async with aclosing(content):
            async for some in content:
                yield retry + some
                retry = b""
    except VisgateError as error:
        problem, _ = problem_of(error)
        yield retry + _event("error", _json(problem))


async def timeline_of(state: State, caller: Caller, ref: JobRef, job_id: str) -> Timeline:
    """Return the maker of a job's events, told by its endpoint's name what the job is."""
    async with deadline(state.settings.deadline_s):
        endpoint = await deployments.find(state.directory, caller, ref.endpoint_id)
    return Timeline(ref, job_id, about=(endpoint.model_id, endpoint.name.task) if endpoint else None)


async def _ledger(state: State, caller: Caller, ref: JobRef) -> Ledger | None:
    return await state.ledgers.read(caller.user_hash, ref.task_id) if ref.task_id else None


async def _events(
    statuses: AsyncGenerator[JobStatus, None],
    timeline: Timeline,
    seen: int,
    *,
    shown: Callable[[Event], Event],
    look: Callable[[JobStatus], Awaitable[Waiting | None]],
    ledger: Callable[[], Awaitable[Ledger | None]],
) -> AsyncGenerator[bytes, None]:
    """Yield a job's events and, between them, why it waits whenever that is something else than before."""
    known, said = await anext(statuses), None
    coming: asyncio.Task[JobStatus | None] | None = None
    try:
        while True:
            if timeline.ledger is None and timeline.lacks_end(known):
                timeline.ledger = await ledger()
            for event in timeline.events(known):
                if event.data.sequence > seen:
                    seen = event.data.sequence
                    yield _event(event.type, shown(event).body().decode(), str(seen))
            waiting = await look(known)
            if waiting is not None and _gist(waiting) != said:
                said = _gist(waiting)
                yield _event("waiting", _json(waiting))
            coming = coming or asyncio.create_task(_next(statuses))
            done, _ = await asyncio.wait({coming}, timeout=None if waiting is None else LOOK_S)
            if done:
                found, coming = coming.result(), None
                if found is None:
                    return
                known = found
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await statuses.aclose()


async def _looked(state: State, caller: Caller, ref: JobRef, job: JobStatus) -> Waiting | None:
    """Return why a job waits; one that has waited too long is cancelled, which its stream then tells."""
    await limits.enforced(caller, ref, job)
    return await state.diagnosis.of(caller, ref, job)


async def _next(statuses: AsyncGenerator[JobStatus, None]) -> JobStatus | None:
    return await anext(statuses, None)


def _gist(waiting: Waiting) -> tuple[object, ...]:
    """Return what of it is worth telling again."""
    return waiting.reason, waiting.queue_position, waiting.log_tail


def _json(model: BaseModel) -> str:
    return masking.current().model(model).model_dump_json(exclude_none=True)


async def _log(tunnel: Tunnel, watching: Coroutine[None, None, None]) -> AsyncGenerator[bytes, None]:
    """Yield log lines as events, many in one piece where many are there."""
    async with tunnel, aclosing(tunnel.lines(watching)) as found:
        async for some in found:
            yield b"".join(_written(some))
    yield _event("end", "{}")


def _written(some: Lines) -> Iterator[bytes]:
    if some.lost:
        yield _event("gap", f'{{"lost":{some.lost}}}')
    for line_id, data in some.lines:
        yield _event("log", data, line_id)


def _event(name: str, data: str, event_id: str = "") -> bytes:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {name}\ndata: {data}\n\n".encode()
