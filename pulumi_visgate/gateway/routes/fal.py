"""`/fal`: fal's queue API over the same core, so that fal's own clients work when they are pointed here."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, JsonValue

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.egress import FIELD, MAX_URL_CHARACTERS
from pulumi_visgate.gateway.middleware.auth import FalCaller
from pulumi_visgate.gateway.middleware.carried import FAL_WEBHOOK
from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.routes.jobs import IdempotencyKey, JobId
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.routes.translation import order_of
from pulumi_visgate.gateway.services import fal
from pulumi_visgate.gateway.services.job_view import JobView, Timeline
from pulumi_visgate.gateway.services.limits import LEAST_LIFE_S, Limits
from pulumi_visgate.gateway.services.orders import Order
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.services.tickets import Style
from pulumi_visgate.gateway.settings import MAX_PRESIGN_S
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.job import JobState
from visgate_contract.errors import ErrorCode
from visgate_contract.signing import JobRef

router = APIRouter(tags=["fal"], prefix="/fal")

HOLD_S = 0.4
"""fal's clients ask ten times a second. An answer without news is held back for this long."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
Owner = Annotated[str, Path(pattern=_NAME, examples=["stabilityai"])]
Alias = Annotated[str, Path(pattern=_NAME, examples=["sdxl-turbo"])]
Arguments = Annotated[
    dict[str, JsonValue],
    Body(examples=[{"prompt": "a red fox in the snow", "image_size": "square", "num_inference_steps": 4, "seed": 7}]),
]
Webhook = Annotated[
    str | None,
    Query(alias=FAL_WEBHOOK, min_length=1, max_length=MAX_URL_CHARACTERS, description="Receiver of the result."),
]
StartTimeout = Annotated[
    float | None,
    Header(
        alias="X-Fal-Request-Timeout",
        gt=0,
        le=MAX_PRESIGN_S,
        description=f"A request that no worker has taken after so many seconds fails (504); at least {LEAST_LIFE_S}.",
        examples=[120.0],
    ),
]
Priority = Annotated[
    Literal["normal", "low"] | None,
    Header(alias="X-Fal-Queue-Priority", description="`low`: start no worker for it; it runs when one is there."),
]


class Queued(BaseModel):
    """A request in the queue."""

    request_id: str
    gateway_request_id: str
    status: str = Field(default="IN_QUEUE")
    queue_position: int = Field(default=0, description="Requests before this one.")
    response_url: str
    status_url: str
    cancel_url: str


class Cancelled(BaseModel):
    """What became of the wish to cancel."""

    status: str = Field(examples=["CANCELLATION_REQUESTED", "ALREADY_COMPLETED"])


def _model(owner: Owner, alias: Alias) -> str:
    """Return the Hub id that a path names."""
    return f"{owner}/{alias}"


Model = Annotated[str, Depends(_model)]


@dataclass(frozen=True, slots=True)
class Submission:
    """What both ways to submit have in common."""

    model: Model
    arguments: Arguments
    caller: FalCaller
    request: Request
    response: Response
    fal_webhook: Webhook = None
    idempotency_key: IdempotencyKey = None
    start_timeout: StartTimeout = None
    priority: Priority = None

    def limits(self) -> Limits:
        """Return how long it may take."""
        start_s = None if self.start_timeout is None else max(LEAST_LIFE_S, math.ceil(self.start_timeout))
        return Limits(start_s=start_s, low_priority=self.priority == "low")


@router.post("/{owner}/{alias}", summary="Submit, as fal does", responses=problems(404, 409, 413, 503))
async def fal_submit(submission: Annotated[Submission, Depends()]) -> Queued:
    """Put a request into the queue of a matching endpoint of yours. Owner and alias are the model's Hub id."""
    return await _submit(submission, "")


@router.post(
    "/{owner}/{alias}/{task}",
    summary="Submit to a task of a model, as fal does",
    responses=problems(404, 409, 413, 503),
)
async def fal_submit_to(
    submission: Annotated[Submission, Depends()],
    task: Annotated[str, Path(max_length=40, examples=["image-to-image"])],
) -> Queued:
    """Put a request into the queue, with the task named by the path."""
    return await _submit(submission, task)


@router.get(
    "/{owner}/{alias}/requests/{request_id}/status",
    summary="Where a request stands, as fal says it",
    responses={202: {"description": "In the queue, or at work."}, **problems(404)},
)
async def fal_status(
    model: Model,
    request_id: JobId,
    caller: FalCaller,
    request: Request,
    logs: Annotated[bool, Query(description="Tell what happened, too.")] = False,
) -> JSONResponse:
    """Tell where a request stands: 200 once it has ended, 202 before. Without news it answers after a moment only."""
    state = State.of(request)
    ref = caller.ref(request_id)
    async with deadline(state.settings.deadline_s):
        job = await state.jobs.status(caller, ref)
        job = await state.follower.changed(caller, ref, job, wait_s=HOLD_S)
    view = state.jobs.view(caller, ref, request_id, job)
    body: dict[str, Any] = {"status": fal.state_of(view), "request_id": request_id}
    body |= _links(state, model, request_id)
    if job.status == JobState.IN_QUEUE:
        body["queue_position"] = await _position(state, caller, ref)
    else:
        told = Timeline(ref, request_id, about=None).events(job) if logs else ()
        body["logs"] = fal.logs_of(tuple(state.jobs.event(caller, event) for event in told)) if logs else None
    if view.status.is_terminal:
        body["metrics"] = {"inference_time": view.timings.generate_s if view.timings else None}
    if view.error is not None:
        body |= {"error": view.error.detail, "error_type": view.error.code.value}
    return _answer(200 if view.status.is_terminal else 202, body, request_id)


@router.get(
    "/{owner}/{alias}/requests/{request_id}",
    summary="The result of a request, as fal gives it",
    responses=problems(400, 404, 500),
)
async def fal_result(model: Model, request_id: JobId, caller: FalCaller, request: Request) -> JSONResponse:
    """Return the pictures of a request that is ready; why there are none, for one that failed."""
    _ = model
    ref, state = caller.ref(request_id), State.of(request)
    async with deadline(state.settings.deadline_s):
        job = await state.jobs.status(caller, ref)
    view = state.jobs.view(caller, ref, request_id, job)
    if not view.status.is_terminal:
        hint = "Ask for its status until that is COMPLETED."
        raise Refused(400, "Request is still in progress", code=ErrorCode.INVALID_REQUEST, hint=hint)
    if view.error is not None:
        raise _failure(view)
    return _answer(200, fal.result_of(view), request_id)


@router.put(
    "/{owner}/{alias}/requests/{request_id}/cancel",
    summary="Cancel a request, as fal does",
    status_code=202,
    response_model=Cancelled,
    responses={400: {"description": "It has ended already.", "model": Cancelled}, **problems(404)},
)
async def fal_cancel(model: Model, request_id: JobId, caller: FalCaller, request: Request) -> JSONResponse:
    """Take a request out of the queue, or stop it."""
    _ = model
    ref, state = caller.ref(request_id), State.of(request)
    async with deadline(state.settings.deadline_s):
        job = await state.jobs.status(caller, ref)
        if job.done:
            return _answer(400, {"status": "ALREADY_COMPLETED"}, request_id)
        await caller.runpod.cancel_job(ref.endpoint_id, ref.runpod_job_id)
    return _answer(202, {"status": "CANCELLATION_REQUESTED"}, request_id)


def _order(submission: Submission, named_task: str) -> Order:
    state = State.of(submission.request)
    model, arguments = submission.model, submission.arguments
    task = fal.task_of(named_task, arguments, state.settings.offered(model))
    given = fal.input_of(task, arguments)
    return order_of(
        model,
        task,
        given,
        their_names=fal.THEIR_NAMES,
        webhook_url=submission.fal_webhook,
        style=Style.FAL,
        limits=submission.limits(),
    )


async def _submit(submission: Submission, named_task: str) -> Queued:
    state, order = State.of(submission.request), _order(submission, named_task)
    key = submission.idempotency_key
    try:
        accepted = await state.submitter.accept(submission.caller, order, idempotency_key=key)
    except InvalidField as error:
        if error.field != FIELD:
            raise
        raise InvalidField(field=FAL_WEBHOOK, detail=error.field_detail, hint=error.hint, code=error.code) from None
    request_id = accepted.job_id or ""
    submission.response.headers["x-fal-request-id"] = request_id
    links = _links(state, submission.model, request_id)
    return Queued(request_id=request_id, gateway_request_id=request_id, **links)


def _links(state: State, model: str, request_id: str) -> dict[str, str]:
    base = f"{state.settings.public_url}/fal/{model}/requests/{request_id}"
    return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}


async def _position(state: State, caller: Caller, ref: JobRef) -> int:
    """Return how many may be in front; Runpod tells the queue's length and not the place."""
    try:
        health = await state.observer.health(caller, ref.endpoint_id)
    except RunpodError:
        return 0
    return max(0, health.jobs.in_queue - 1)


def _failure(view: JobView) -> Refused:
    error = view.error
    code, detail, hint = (error.code, error.detail, error.hint) if error else (ErrorCode.INTERNAL, "It failed.", "")
    by_code = {
        ErrorCode.INVALID_REQUEST: 422,
        ErrorCode.TASK_NOT_SUPPORTED: 422,
        ErrorCode.CANCELLED: 400,
        ErrorCode.DEADLINE_EXCEEDED: 504,
    }
    headers = {"x-fal-error-type": code.value, "x-fal-request-id": view.job_id}
    if code is ErrorCode.DEADLINE_EXCEEDED:
        headers["x-fal-request-timeout-type"] = "user"  # fal's clients ask no more then
    return Refused(by_code.get(code, 500), detail, code=code, hint=hint, headers=headers)


def _answer(status: int, body: dict[str, Any], request_id: str) -> JSONResponse:
    return JSONResponse(body, status, headers={"x-fal-request-id": request_id})
