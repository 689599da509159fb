"""The job API of queue endpoints, one function for each operation: typed arguments to a prepared call. No I/O."""

from typing import TypeVar

from pulumi_visgate.runpod._call import Call, HttpMethod, Plane, one
from pulumi_visgate.runpod.models.common import Answer
from pulumi_visgate.runpod.models.job import (
    EndpointHealth,
    JobRequest,
    JobStatus,
    JobStream,
    PurgedQueue,
    RunSyncQuery,
)

AnswerT = TypeVar("AnswerT", bound=Answer)

_DEFAULT_WAIT_MS = 90_000
_WAIT_MARGIN_S = 15.0


def _call(
    operation_id: str,
    method: HttpMethod,
    action: str,
    answer: type[AnswerT],
    ids: dict[str, str],
    *,
    body: JobRequest | None = None,
    query: RunSyncQuery | None = None,
    repeatable: bool = True,
    timeout_s: float | None = None,
) -> Call[AnswerT]:
    return Call(
        operation_id=operation_id,
        method=method,
        template=f"/{{endpoint_id}}/{action}",
        parse=one(answer),
        ids=ids,
        body=body,
        query=query,
        plane=Plane.JOBS,
        repeatable=repeatable,
        timeout_s=timeout_s,
    )


def run_job(endpoint_id: str, job: JobRequest) -> Call[JobStatus]:
    """Queue a job (`POST /run`); never repeated once it may have been received."""
    return _call("runJob", "POST", "run", JobStatus, {"endpoint_id": endpoint_id}, body=job, repeatable=False)


def run_job_sync(endpoint_id: str, job: JobRequest, query: RunSyncQuery | None = None) -> Call[JobStatus]:
    """Queue a job and wait for it (`POST /runsync`); the state is not final when Runpod stopped waiting."""
    wait_ms = (query.wait if query is not None else None) or _DEFAULT_WAIT_MS
    return _call(
        "runJobSync",
        "POST",
        "runsync",
        JobStatus,
        {"endpoint_id": endpoint_id},
        body=job,
        query=query,
        repeatable=False,
        timeout_s=wait_ms / 1_000 + _WAIT_MARGIN_S,
    )


def job_status(endpoint_id: str, job_id: str) -> Call[JobStatus]:
    """Return a job's state, with its output when there is one (`GET /status`)."""
    return _call("jobStatus", "GET", "status/{job_id}", JobStatus, {"endpoint_id": endpoint_id, "job_id": job_id})


def stream_job(endpoint_id: str, job_id: str) -> Call[JobStream]:
    """Return the partial results since the call before (`GET /stream`)."""
    return _call("streamJob", "GET", "stream/{job_id}", JobStream, {"endpoint_id": endpoint_id, "job_id": job_id})


def cancel_job(endpoint_id: str, job_id: str) -> Call[JobStatus]:
    """Stop a job, queued or running (`POST /cancel`)."""
    return _call("cancelJob", "POST", "cancel/{job_id}", JobStatus, {"endpoint_id": endpoint_id, "job_id": job_id})


def retry_job(endpoint_id: str, job_id: str) -> Call[JobStatus]:
    """Queue a failed or timed-out job again under its id (`POST /retry`)."""
    ids = {"endpoint_id": endpoint_id, "job_id": job_id}
    return _call("retryJob", "POST", "retry/{job_id}", JobStatus, ids, repeatable=False)


def purge_queue(endpoint_id: str) -> Call[PurgedQueue]:
    """Remove all waiting jobs (`POST /purge-queue`); a repeat could remove jobs that came in between."""
    return _call("purgeQueue", "POST", "purge-queue", PurgedQueue, {"endpoint_id": endpoint_id}, repeatable=False)


def endpoint_health(endpoint_id: str) -> Call[EndpointHealth]:
    """Return the counts of jobs and workers by state (`GET /health`)."""
    return _call("endpointHealth", "GET", "health", EndpointHealth, {"endpoint_id": endpoint_id})
