"""What the gateway answers, as far as a caller reads it. What a newer gateway adds is left out."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from pulumi_visgate.client.errors import JobFailedError, JobNotDoneError
from visgate_contract.events import (
    Artifact,
    Event,
    EventError,
    LoadProgress,
    LoadReport,
    Progress,
    RuntimeReport,
    Status,
    Timings,
)


class Answer(BaseModel):
    """An answer. Words that may grow in number are plain strings."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Expected(Answer):
    """What can be expected, from what jobs took in the last hours.

    Args:
        start_s: Seconds until a worker can begin.
        done_s: Seconds until the result.
        samples: Jobs that this is taken from.
    """

    start_s: float
    done_s: float
    samples: int


class SubmittedJob(Answer):
    """A job that is in the queue (`POST /v1/jobs`).

    Args:
        status: `warm_ready`, or `accepted_cold` when a worker has to start first.
        task_id: In every event of the job.
        job_id: For everything else that is asked about it.
        endpoint_id: Where it runs.
        model: Hub id.
        task: What is asked of it.
        expected: How long it may take; None while unknown.
    """

    status: str
    task_id: str
    job_id: str
    endpoint_id: str
    model: str
    task: str
    expected: Expected | None = None


class Waiting(Answer):
    """Why a job does not generate yet.

    Args:
        reason: `queued`, `starting`, `throttled`, `no_capacity`, `crash_looping`, `scaled_to_zero` or `loading_model`.
        detail: The same for people.
        hint: What to do.
        waited_s: Seconds since the job was accepted.
        queue_position: Jobs that may be before it.
        workers: How many workers the endpoint has in each state.
        loading: How far the model has come, in bytes.
        log_tail: The last lines of a worker that failed.
        estimated_s: Seconds until it may begin.
    """

    reason: str
    detail: str
    hint: str = ""
    waited_s: float | None = None
    queue_position: int | None = None
    workers: dict[str, int] | None = None
    loading: LoadProgress | None = None
    log_tail: tuple[str, ...] = ()
    estimated_s: float | None = None


Update = Event | Waiting
"""What happens to a job: one of its events, or why it waits."""


class Result(Answer):
    """What a job made.

    Args:
        job_id: The job.
        task_id: In every event of it.
        artifacts: The files, with their links.
        receipt_url: The job's signed receipt: what made which file.
        load: Where the model came from.
        runtime: What executed it.
        timings: Seconds of each phase.
    """

    job_id: str
    task_id: str | None
    artifacts: tuple[Artifact, ...]
    receipt_url: str | None = None
    load: LoadReport | None = None
    runtime: RuntimeReport | None = None
    timings: Timings | None = None

    @classmethod
    def of_event(cls, job_id: str, event: Event) -> Self:
        """Return the result that a job's last event tells.

        Raises:
            JobFailedError: It tells a failure.
        """
        data = event.data
        if data.status is not Status.READY:
            raise failure(data.error)
        return cls(
            job_id=job_id,
            task_id=data.task_id,
            artifacts=data.artifacts,
            receipt_url=data.receipt_url,
            load=data.load,
            runtime=data.runtime,
            timings=data.timings,
        )


class Job(Answer):
    """Where a job stands (`GET /v1/jobs/{id}`).

    Args:
        job_id: The job.
        task_id: In every event of it.
        endpoint_id: Where it runs.
        worker_id: On which worker.
        status: That of the newest event.
        runpod_status: Runpod's own word for it.
        waiting: Why it does not generate yet.
        progress: How far generation is.
        loading: How far the model is.
        artifacts: The files, once there are any.
        receipt_url: Its signed receipt, once there is one.
        load: Where the model came from.
        runtime: What executes it.
        timings: Seconds of each phase.
        error: Why it failed.
        delay_ms: Time in the queue, in milliseconds.
        execution_ms: Time at the worker, in milliseconds.
    """

    job_id: str
    task_id: str | None = None
    endpoint_id: str
    worker_id: str | None = None
    status: Status
    runpod_status: str
    waiting: Waiting | None = None
    progress: Progress | None = None
    loading: LoadProgress | None = None
    artifacts: tuple[Artifact, ...] = ()
    receipt_url: str | None = None
    load: LoadReport | None = None
    runtime: RuntimeReport | None = None
    timings: Timings | None = None
    error: EventError | None = None
    delay_ms: int | None = None
    execution_ms: int | None = None

    def result(self) -> Result:
        """Return what it made.

        Raises:
            JobFailedError: It failed.
            JobNotDoneError: It has not ended.
        """
        if self.status is Status.FAILED:
            raise failure(self.error)
        if self.status is not Status.READY:
            detail = f"The job has not ended; it is {self.status}."
            raise JobNotDoneError(detail, hint=self.waiting.detail if self.waiting else "Wait for it.")
        return Result(
            job_id=self.job_id,
            task_id=self.task_id,
            artifacts=self.artifacts,
            receipt_url=self.receipt_url,
            load=self.load,
            runtime=self.runtime,
            timings=self.timings,
        )


class LogLine(Answer):
    """One line of a worker's log.

    Args:
        worker_id: Whose.
        source: `container` or `system`.
        line: The line, secrets masked.
        ts: When it was written.
        lost: Lines before this one that were forgotten before they could be sent.
    """

    worker_id: str
    source: str
    line: str
    ts: datetime | None = None
    lost: int = 0


class Deployment(Answer):
    """An endpoint that is ready for a model, or on its way (`POST /v1/deployments`).

    Args:
        status: `warm_ready` or `accepted_cold`.
        task_id: In the event that tells of it.
        deployment_id: For `delete_deployment`.
        endpoint_id: The same, as Runpod has it.
        endpoint_url: At Runpod.
        model: Hub id.
        task: What can be asked of it.
        job_id: The warm-up, to be followed like any job; with `warm_for_s` only.
        expected: What a job would take now; None while unknown.
    """

    status: str
    task_id: str
    deployment_id: str
    endpoint_id: str
    endpoint_url: str
    model: str
    task: str
    job_id: str | None = None
    expected: Expected | None = None


class OwnDeployment(Answer):
    """One of the caller's endpoints (`GET /v1/deployments`).

    Args:
        deployment_id: For `delete_deployment`.
        endpoint_id: The same, as Runpod has it.
        endpoint_url: At Runpod.
        name: At Runpod.
        model: Hub id.
        task: What can be asked of it.
        policy: `on_demand`, `scheduled_warm` or `always_on`.
        managed_by: `gateway` or `pulumi`; only the gateway's can be deleted through it.
        workers_min: Workers that are always there.
        workers_max: Workers at most.
        data_center_ids: Where they may run; anywhere when empty.
        created_at: When it was made.
    """

    deployment_id: str
    endpoint_id: str
    endpoint_url: str
    name: str
    model: str
    task: str
    policy: str
    managed_by: str
    workers_min: int
    workers_max: int
    data_center_ids: tuple[str, ...]
    created_at: datetime


def failure(error: EventError | None) -> JobFailedError:
    """Return the error that tells why a job failed."""
    if error is None:
        return JobFailedError("The job failed without a reason.")
    return JobFailedError(error.detail, hint=error.hint, code=error.code, log_tail=error.log_tail)
