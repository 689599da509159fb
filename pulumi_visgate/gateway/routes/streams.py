"""Server-sent events: the events of a job, and the logs of its worker or of an endpoint."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import Gauge
from sse_starlette import EventSourceResponse, ServerSentEvent

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.problems import problem_of
from pulumi_visgate.gateway.routes.deployments import EndpointId
from pulumi_visgate.gateway.routes.jobs import JobId, status_of
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.services import log_tunnel
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.log_tunnel import Tunnel
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import VisgateError
from visgate_contract.signing import JobRef

router = APIRouter(tags=["streams"])

RETRY_MS = 2_000
_LOG_ID = re.compile(r"[!-~]{1,200}")
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Resume after this event.", max_length=200)
]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
_OVER: dict[int | str, dict[str, Any]] = {204: {"description": "The stream has ended, and everything was seen."}}


class _Heartbeat(ServerSentEvent):
    """A comment without the empty line that ends an event: some clients take a second one for an empty event."""

    def encode(self) -> bytes:
        """Return the line."""
        return b": still here\n"


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={**_STREAM, **_OVER, **problems(404)},
)
async def events(job_id: JobId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None) -> Response:
    """Stream a job's events in order; each is what a webhook delivers, its id is the sequence."""
    state = State.of(request)
    ref = caller.ref(job_id)
    first = await _status(state, caller, ref)
    timeline = await _timeline(state, caller, ref, job_id)
    seen = int(last_event_id) if last_event_id and re.fullmatch(r"[0-9]{1,9}", last_event_id) else -1
    if first.done and all(event.data.sequence <= seen for event in timeline.events(first)):
        return Response(status_code=204)
    return _stream(state, _events(state.follower.statuses(caller, ref, first), timeline, seen))


@router.get(
    "/v1/jobs/{job_id}/logs",
    summary="Follow the log of a job's worker",
    response_class=EventSourceResponse,
    responses={**_STREAM, **problems(404)},
)
async def job_logs(
    job_id: JobId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None
) -> Response:
    """Stream the log of the worker that runs a job, from the job's submission to its end, secrets masked."""
    state = State.of(request)
    ref = caller.ref(job_id)
    first = await _status(state, caller, ref)
    tunnel = Tunnel(
        caller,
        ref.endpoint_id,
        state.follower,
        last_event_id=_log_id(last_event_id),
        since=log_tunnel.start_of(ref),
    )
    return _stream(state, _job_lines(tunnel, ref, first))


@router.get(
    "/v1/endpoints/{endpoint_id}/logs",
    summary="Follow the logs of an endpoint",
    response_class=EventSourceResponse,
    responses={**_STREAM, **problems(404)},
)
async def endpoint_logs(
    endpoint_id: EndpointId, caller: CurrentCaller, request: Request, last_event_id: LastEventId = None
) -> Response:
    """Stream the logs of all workers of one of your endpoints until you hang up, secrets masked."""
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        await caller.runpod.list_endpoint_workers(endpoint_id)
    tunnel = Tunnel(caller, endpoint_id, state.follower, last_event_id=_log_id(last_event_id))
    return _stream(state, _endpoint_lines(tunnel))


async def _status(state: State, caller: Caller, ref: JobRef) -> JobStatus:
    return state.follower.known(caller, ref) or await status_of(caller, ref, deadline_s=state.settings.deadline_s)


def _stream(state: State, content: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    return EventSourceResponse(
        _counted(state.metrics.streams, _closing_with_problem(content)),
        ping=state.settings.heartbeat_s,
        ping_message_factory=_Heartbeat,
        sep="\n",
        send_timeout=30.0,
    )


async def _counted(streams: Gauge, content: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    with streams.track_inprogress():
        async for event in content:
            yield event


async def _closing_with_problem(content: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    """Open the stream at once, pass it on, and end it with a problem event where it fails.

    How soon to come back is said with the first event: some clients take a `retry` alone for an event.
    """
    yield ServerSentEvent(comment="connected")
    retry: int | None = RETRY_MS
    try:
        async for event in content:
            event.retry, retry = retry, None
            yield event
    except VisgateError as error:
        problem, _ = problem_of(error)
        text = masking.current().text(problem.model_dump_json(exclude_none=True))
        yield ServerSentEvent(data=text, event="error")


async def _timeline(state: State, caller: Caller, ref: JobRef, job_id: str) -> Timeline:
    """Return the maker of a job's events, told by its endpoint's name what the job is."""
    async with deadline(state.settings.deadline_s):
        found = await state.directory.candidates(caller.user_hash, caller.keys.secrets, caller.runpod.list_endpoints)
    endpoint = next((candidate for candidate in found if candidate.id == ref.endpoint_id), None)
    return Timeline(ref, job_id, about=(endpoint.model_id, endpoint.name.task) if endpoint else None)


async def _events(statuses: AsyncIterator[JobStatus], timeline: Timeline, seen: int) -> AsyncIterator[ServerSentEvent]:
    async for status in statuses:
        for event in timeline.events(status):
            if event.data.sequence > seen:
                seen = event.data.sequence
                text = masking.current().text(event.body().decode())
                yield ServerSentEvent(data=text, event=event.type, id=str(seen))


async def _job_lines(tunnel: Tunnel, ref: JobRef, first: JobStatus) -> AsyncIterator[ServerSentEvent]:
    async with tunnel:
        until = tunnel.follow_job(ref, first)
        async for line_id, line in tunnel.lines(until):
            yield ServerSentEvent(data=line.model_dump_json(), event="log", id=line_id or None)
        yield ServerSentEvent(data="{}", event="end")


async def _endpoint_lines(tunnel: Tunnel) -> AsyncIterator[ServerSentEvent]:
    async with tunnel:
        tunnel.follow_endpoint()
        async for line_id, line in tunnel.lines():
            yield ServerSentEvent(data=line.model_dump_json(), event="log", id=line_id or None)


def _log_id(last_event_id: str | None) -> str:
    return last_event_id if last_event_id and _LOG_ID.fullmatch(last_event_id) else ""
