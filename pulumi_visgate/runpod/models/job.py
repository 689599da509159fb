"""The job API of queue endpoints. It has no OpenAPI document; the shapes follow Runpod's pages on job operations.

Inputs, outputs and webhook addresses stay out of `repr`: they can hold presigned URLs.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pulumi_visgate.runpod.models.common import Answer, Bool, Int, Open, Query, Request


class JobState(StrEnum):
    """State of a job in Runpod's queue."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT})


class JobPolicy(Request):
    """Limits of one job.

    Args:
        execution_timeout: Longest execution in milliseconds, at least 5,000.
        ttl: Longest life of the job, queue included, in milliseconds, at least 10,000.
        low_priority: Start no worker for it.
    """

    execution_timeout: Annotated[Int, Field(ge=5_000)] | None = None
    ttl: Annotated[Int, Field(ge=10_000)] | None = None
    low_priority: Bool | None = None


class JobRequest(Request):
    """Body of `run` and `runsync`.

    Args:
        input: What the worker's handler gets.
        webhook: Where Runpod posts the finished job.
        policy: Limits of this job.
    """

    input: dict[str, Any] = Field(repr=False)
    webhook: str | None = Field(default=None, repr=False)
    policy: JobPolicy | None = None


class RunSyncQuery(Query):
    """Query of `runsync`.

    Args:
        wait: How long Runpod waits for the result in milliseconds, 1,000 to 300,000; 90,000 by default.
    """

    wait: Annotated[Int, Field(ge=1_000, le=300_000)] | None = None


class JobStatus(Answer):
    """A job as `run`, `runsync`, `status`, `cancel` and `retry` report it; times are milliseconds.

    While a job runs, `output` is the worker's latest progress update.
    """

    id: str
    status: Open[JobState]
    output: Any = Field(default=None, repr=False)
    error: Any = Field(default=None, repr=False)
    delay_time: int | None = None
    execution_time: int | None = None
    retries: int | None = None
    worker_id: str | None = None

    @property
    def done(self) -> bool:
        """Whether the job will not change any more."""
        return self.status in FINAL_STATES


class StreamChunk(Answer):
    """One partial result."""

    output: Any = Field(default=None, repr=False)


class JobStream(Answer):
    """Answer of `stream`: what has come since the call before."""

    status: Open[JobState]
    stream: list[StreamChunk] = Field(default_factory=list[StreamChunk])


class PurgedQueue(Answer):
    """Answer of `purge-queue`."""

    removed: int
    status: str


class JobCounts(Answer):
    """Jobs of an endpoint by state."""

    completed: int = 0
    failed: int = 0
    in_progress: int = 0
    in_queue: int = 0
    retried: int = 0


class WorkerCounts(Answer):
    """Workers of an endpoint by state."""

    idle: int = 0
    initializing: int = 0
    ready: int = 0
    running: int = 0
    throttled: int = 0
    unhealthy: int = 0


class EndpointHealth(Answer):
    """Answer of `health`."""

    jobs: JobCounts
    workers: WorkerCounts
