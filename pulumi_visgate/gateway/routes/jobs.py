"""`/v1/jobs`: accept, show, cancel, retry."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response, status

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.routes.schemas import Expected, JobAnswer, JobLinks, JobRequestBody
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.services.orders import Order
from pulumi_visgate.gateway.services.replays import FIELD
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.models.job import JobState
from visgate_contract.errors import ErrorCode

router = APIRouter(tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=FIELD,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Makes it safe to send a request again; one of your own for each request, such as a UUID.",
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]

RETRIABLE = frozenset({JobState.FAILED, JobState.TIMED_OUT})
JobId = Annotated[str, Path(max_length=300, description="What `POST /v1/jobs` returned as `job_id`.")]


submissions = APIRouter(tags=["jobs"])


@submissions.post(
    "/v1/jobs",
    summary="Generate",
    responses=problems(404, 409, 413, 503),
    status_code=status.HTTP_202_ACCEPTED,
)
async def submit(
    body: JobRequestBody,
    caller: CurrentCaller,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobAnswer:
    """Put a job into the queue of a matching endpoint of yours, made first if there is none.

    `status` says whether a started worker is there (`warm_ready`) or one has to start (`accepted_cold`). The job goes
    on without this gateway: its worker uploads the pictures and delivers the webhooks.
    """
    state = State.of(request)
    order = Order(body.asked(), body.input, body.webhook_url, limits=body.limits())
    accepted = await state.submitter.accept(caller, order, idempotency_key=idempotency_key)
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    job = f"{state.settings.public_url}/v1/jobs/{accepted.job_id}"
    return JobAnswer(
        status=accepted.warmth,
        task_id=accepted.task_id,
        job_id=accepted.job_id or "",
        endpoint_id=accepted.endpoint_id,
        model=body.model or accepted.model_id,
        task=body.task,
        expected=Expected.of(accepted.expected),
        links=JobLinks(
            self=job, events=f"{job}/events", logs=f"{job}/logs", cancel=f"{job}/cancel", retry=f"{job}/retry"
        ),
    )


@router.get("/v1/jobs/{job_id}", summary="Show a job", responses=problems(404))
async def show(job_id: JobId, caller: CurrentCaller, request: Request) -> JobView:
    """Show a job as Runpod has it now, and why it waits.

    Runpod forgets a finished job after about half an hour; from then on its ledger in the platform's bucket tells.
    Links are made anew with every answer.
    """
    ref = caller.ref(job_id)
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        job = await state.jobs.status(caller, ref)
    return state.jobs.view(caller, ref, job_id, job, waiting=await state.diagnosis.of(caller, ref, job))


@router.post("/v1/jobs/{job_id}/cancel", summary="Cancel a job", responses=problems(404, 409))
async def cancel(job_id: JobId, caller: CurrentCaller, request: Request) -> JobView:
    """Take a job out of the queue, or stop it. A job that has ended already stays as it is."""
    ref, state = caller.ref(job_id), State.of(request)
    async with deadline(state.settings.deadline_s):
        job = await state.jobs.status(caller, ref)
        if not job.done:
            cancelled = await caller.runpod.cancel_job(ref.endpoint_id, ref.runpod_job_id)
            job = job.model_copy(update={"status": cancelled.status})
    return state.jobs.view(caller, ref, job_id, job)


@router.post("/v1/jobs/{job_id}/retry", summary="Try a job again", responses=problems(404, 409))
async def retry(job_id: JobId, caller: CurrentCaller, request: Request) -> JobView:
    """Queue a job again that has failed or ran out of time, under its id and with its input. Others are refused."""
    ref = caller.ref(job_id)
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        job = await caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
        if ref.start_by is not None and datetime.now(UTC) >= ref.start_by:
            raise Refused(
                409,
                f"This job had to begin within {ref.start_timeout_s} s, and that time is over.",
                code=ErrorCode.INVALID_REQUEST,
                hint="Send the request again with POST /v1/jobs.",
            )
        if job.status not in RETRIABLE:
            raise Refused(
                409,
                f"Only a job that has failed or ran out of time can be tried again; this one is {job.status}.",
                code=ErrorCode.INVALID_REQUEST,
                hint="Send the request again with POST /v1/jobs.",
            )
        queued = await caller.runpod.retry_job(ref.endpoint_id, ref.runpod_job_id)
    return state.jobs.view(caller, ref, job_id, queued)
