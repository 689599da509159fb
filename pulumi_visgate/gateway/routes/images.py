"""`/v1/images/generations`: OpenAI's images API over the same core, so that its own clients work with this base URL."""

import asyncio
import time
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.problems import OPENAI_PATH, Refused
from pulumi_visgate.gateway.routes.jobs import IdempotencyKey
from pulumi_visgate.gateway.routes.responses import openai_problem
from pulumi_visgate.gateway.routes.translation import order_of
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.services.orders import Accepted
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import ErrorCode
from visgate_contract.signing import JobRef
from visgate_contract.tasks import Task

router = APIRouter(tags=["openai"])

JOB_HEADER = "X-Visgate-Job-Id"
_THEIR_NAMES = {"num_images": "n", "width": "size", "height": "size"}
_OURS = ("negative_prompt", "steps", "guidance_scale", "seed")
# Their client repeats what failed unless it is told not to; the repeat would be another job.
_NO_REPEAT = {"X-Should-Retry": "false"}


class ImagesRequest(BaseModel):
    """A request as OpenAI's clients send it; what it may say besides is ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    model: str = Field(
        min_length=1, max_length=200, description="Hub id of the model.", examples=["stabilityai/sdxl-turbo"]
    )
    prompt: JsonValue = Field(description="What to draw.", examples=["a red fox in the snow"])
    n: JsonValue = Field(default=None, description="How many pictures, 1 to 8.", examples=[1])
    size: Annotated[str, Field(pattern=r"^(auto|[0-9]{2,4}x[0-9]{2,4})$")] | None = Field(
        default=None, description="Width and height in pixels, multiples of 8.", examples=["1024x1024"]
    )
    response_format: Literal["url"] | None = Field(default=None, description="Pictures come as links.")
    output_format: JsonValue = Field(default=None, description="`png`, `jpeg`, `webp` or `avif`.", examples=["png"])
    negative_prompt: JsonValue = Field(default=None, description="What to keep out; not in OpenAI's API.")
    steps: JsonValue = Field(default=None, description="Denoising steps; not in OpenAI's API.")
    guidance_scale: JsonValue = Field(default=None, description="Strictness; not in OpenAI's API.")
    seed: JsonValue = Field(default=None, description="Same seed, same picture; not in OpenAI's API.")

    def given(self) -> dict[str, JsonValue]:
        """Return the input of `text2img`."""
        wanted: dict[str, JsonValue] = {"prompt": self.prompt, "num_images": self.n}
        wanted |= {"output_format": self.output_format, **{name: getattr(self, name) for name in _OURS}}
        if self.size not in {None, "auto"}:
            width, _, height = (self.size or "").partition("x")
            wanted |= {"width": int(width), "height": int(height)}
        return {name: value for name, value in wanted.items() if value is not None}


class ImageLink(BaseModel):
    """One picture."""

    url: str


class ImagesAnswer(BaseModel):
    """Pictures that are ready."""

    created: int = Field(description="Seconds since the epoch.")
    data: list[ImageLink]


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: openai_problem(status, description)
    for status, description in {
        400: "A field is wrong; `param` names it.",
        401: "No Runpod API key, or one that Runpod does not accept.",
        402: "The Runpod account has no funds.",
        403: "The Runpod API key may not do this.",
        404: "The model is not offered here.",
        409: "The same request is being worked on.",
        413: "The body is too large.",
        429: "Too many requests; see `Retry-After`.",
        500: "The job has failed.",
        502: "Runpod failed, or refused.",
        503: "Runpod has no capacity now.",
        504: "Not ready in time. The job goes on; the message names it.",
    }.items()
}


@router.post(OPENAI_PATH, summary="Generate and wait, as OpenAI does", responses=_PROBLEMS)
async def generate_images(
    body: ImagesRequest,
    caller: CurrentCaller,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ImagesAnswer:
    """Generate pictures and answer when they are ready. Whoever hangs up cancels the job."""
    state = State.of(request)
    order = order_of(body.model, Task.TEXT2IMG, body.given(), their_names=_THEIR_NAMES)
    accepted = await state.submitter.accept(caller, order, idempotency_key=idempotency_key)
    response.headers[JOB_HEADER] = accepted.job_id or ""
    view = await _ended(state, caller, accepted, request)
    if view.error is not None:
        raise _failure(view)
    return ImagesAnswer(created=int(time.time()), data=[ImageLink(url=made.url) for made in view.artifacts])


async def _ended(state: State, caller: Caller, accepted: Accepted, request: Request) -> JobView:
    """Wait for a job's end, but not for ever and not for nobody.

    Raises:
        Refused: It is not ready in time (504), or its client has gone.
    """
    job_id = accepted.job_id or ""
    ref = caller.ref(job_id)
    job = asyncio.create_task(_follow(state, caller, ref))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({job, gone}, timeout=state.settings.images_wait_s, return_when=asyncio.FIRST_COMPLETED)
        if job.done():
            return state.jobs.view(caller, ref, job_id, job.result())
        if gone.done():
            await _cancel(caller, ref)
            raise Refused(400, "The client has hung up.", code=ErrorCode.CANCELLED)
        raise Refused(
            504,
            f"The pictures were not ready within {state.settings.images_wait_s:g} s. {job_id} goes on.",
            code=ErrorCode.DEADLINE_EXCEEDED,
            hint=f"Ask GET {state.settings.public_url}/v1/jobs/{job_id}.",
            headers={**_NO_REPEAT, JOB_HEADER: job_id},
        )
    finally:
        for task in (job, gone):
            task.cancel()
        await asyncio.gather(job, gone, return_exceptions=True)


async def _follow(state: State, caller: Caller, ref: JobRef) -> JobStatus:
    async with deadline(state.settings.deadline_s):
        first = await state.jobs.status(caller, ref)
    async with aclosing(state.follower.statuses(caller, ref, first)) as statuses:
        async for status in statuses:
            first = status
    return first


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel(caller: Caller, ref: JobRef) -> None:
    try:
        await caller.runpod.cancel_job(ref.endpoint_id, ref.runpod_job_id)
    except RunpodError:
        return  # nobody is left to be told; the job's own time limit ends it


def _failure(view: JobView) -> Refused:
    error = view.error
    code, detail, hint = (error.code, error.detail, error.hint) if error else (ErrorCode.INTERNAL, "It failed.", "")
    status = {ErrorCode.INVALID_REQUEST: 400, ErrorCode.TASK_NOT_SUPPORTED: 400, ErrorCode.CANCELLED: 400}.get(
        code, 500
    )
    return Refused(status, detail, code=code, hint=hint, headers={**_NO_REPEAT, JOB_HEADER: view.job_id})
