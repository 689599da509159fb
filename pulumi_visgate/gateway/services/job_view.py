"""A job as its caller sees it, read from Runpod's own status each time."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from pulumi_visgate.gateway.services.announce import provisioning
from pulumi_visgate.gateway.services.limits import was_overdue
from pulumi_visgate.gateway.services.waiting import Waiting
from pulumi_visgate.runpod.models.job import JobState, JobStatus
from visgate_contract.errors import ErrorCode
from visgate_contract.events import (
    Artifact,
    Event,
    EventData,
    EventError,
    LoadProgress,
    LoadReport,
    Progress,
    RuntimeReport,
    Status,
    Timings,
    last_sequence,
)
from visgate_contract.jobs import JobError, JobProgress, JobResult
from visgate_contract.ledger import Ledger
from visgate_contract.signing import JobRef
from visgate_contract.tasks import Task


class JobView(BaseModel):
    """Where a job stands.

    `status` is that of the newest event. `runpod_status` is Runpod's own word for it.
    """

    job_id: str = Field(examples=["job_4m7x2k9q_0b1c2d3e-u1.01k5d8…_5f0c8b1d…"])
    task_id: str | None
    endpoint_id: str
    worker_id: str | None = None
    status: Status
    runpod_status: str = Field(examples=["IN_PROGRESS"])
    waiting: Waiting | None = Field(default=None, description="Why it does not generate yet; absent once it does.")
    progress: Progress | None = None
    loading: LoadProgress | None = None
    artifacts: tuple[Artifact, ...] = ()
    receipt_url: str | None = Field(default=None, description="The job's signed receipt: what made which file.")
    load: LoadReport | None = None
    runtime: RuntimeReport | None = None
    timings: Timings | None = None
    error: EventError | None = None
    delay_ms: int | None = Field(default=None, description="Time in the queue, in milliseconds.")
    execution_ms: int | None = Field(default=None, description="Time at the worker, in milliseconds.")


def _body(job: JobStatus) -> dict[str, Any]:
    return {"status": str(job.status), "output": job.output, "error": job.error}


def view(ref: JobRef, job_id: str, job: JobStatus) -> JobView:
    """Return what is known of a job.

    Args:
        ref: The parsed id.
        job_id: The public id.
        job: Runpod's status.
    """
    body = _body(job)
    events = JobProgress.from_runpod(body).events
    result = _result(ref, job)
    last = events[-1].data if events else None
    if result is not None:
        status = Status.FAILED if result.error else Status.READY
    elif last is not None:
        status = last.status
    else:
        status = Status.PROVISIONING if job.status == JobState.IN_QUEUE else Status.STARTED
    error = result.error if result else None
    return JobView(
        job_id=job_id,
        task_id=ref.task_id or (last.task_id if last else None),
        endpoint_id=ref.endpoint_id,
        worker_id=job.worker_id,
        status=status,
        runpod_status=str(job.status),
        progress=next((event.data.progress for event in reversed(events) if event.data.progress), None),
        loading=last.loading if last and result is None else None,
        artifacts=result.artifacts if result else (),
        receipt_url=result.receipt_url if result else None,
        runtime=result.runtime
        if result
        else next((event.data.runtime for event in events if event.data.runtime), None),
        load=result.load if result else next((event.data.load for event in events if event.data.load), None),
        timings=result.timings if result else None,
        error=EventError.model_validate(error.model_dump()) if error else None,
        delay_ms=job.delay_time,
        execution_ms=job.execution_time,
    )


def _result(ref: JobRef, job: JobStatus) -> JobResult | None:
    result = JobResult.from_runpod(_body(job))
    if result is None or not was_overdue(ref, job):
        return result
    error = JobError(
        code=ErrorCode.DEADLINE_EXCEEDED,
        detail=f"No worker took the job within {ref.start_timeout_s} s.",
        hint="Send it again, or give it more time to start.",
    )
    return result.model_copy(update={"error": error})


def of_ledger(ref: JobRef, ledger: Ledger) -> JobStatus | None:
    """Return the status that Runpod has had of a job, as far as its ledger tells; None if that tells no end."""
    end = ledger.end()
    if end is None:
        return None
    data, error = end.data, None
    if data.error is not None:
        error = JobError.model_validate(data.error.model_dump())
    result = JobResult(
        task_id=data.task_id,
        artifacts=data.artifacts,
        receipt_url=data.receipt_url,
        timings=data.timings,
        load=data.load,
        runtime=data.runtime,
        error=error,
        events=tuple(one.event for one in ledger.deliveries),
    )
    output = result.to_runpod()
    code = None if error is None else error.code
    return JobStatus(
        id=ref.runpod_job_id,
        status=JobState.COMPLETED if code is None else _STATES.get(code, JobState.FAILED),
        error=output.pop("error", None),
        output=output,
        worker_id=data.worker_id,
    )


_STATES = {ErrorCode.CANCELLED: JobState.CANCELLED, ErrorCode.DEADLINE_EXCEEDED: JobState.TIMED_OUT}


def told(job: JobStatus) -> frozenset[str]:
    """Return the ids of the events that a job's worker has told itself."""
    return frozenset(event.id for event in JobProgress.from_runpod(_body(job)).events)


class Timeline:
    """The events of one job, made complete.

    The worker reports its own. The gateway adds `provisioning`, which it delivered itself, and the end of a job whose
    worker could not tell it.

    Args:
        ref: The parsed id.
        job_id: The public id.
        about: Model and task of the job's endpoint, if it still exists; the worker's events tell, too.

    Attributes:
        ledger: What the job's ledger says, once it was read; of interest where the worker could not tell the end.
    """

    def __init__(self, ref: JobRef, job_id: str, *, about: tuple[str, Task] | None) -> None:
        self._ref = ref
        self._job_id = job_id
        self._about = about
        self.ledger: Ledger | None = None

    def lacks_end(self, job: JobStatus) -> bool:
        """Tell whether a job has ended without its worker having told it to Runpod."""
        return job.done and not any(
            event.data.status.is_terminal for event in JobProgress.from_runpod(_body(job)).events
        )

    def events(self, job: JobStatus) -> tuple[Event, ...]:
        """Return every event that a status tells of, in order."""
        body = _body(job)
        found = {event.data.sequence: event for event in JobProgress.from_runpod(body).events}
        if found:
            data = next(iter(found.values())).data
            self._about = (data.model_id, data.task)
        if 0 not in found and self._ref.task_id and self._about:
            found[0] = provisioning(
                task_id=self._ref.task_id,
                model_id=self._about[0],
                task=self._about[1],
                job_id=self._job_id,
                endpoint_id=self._ref.endpoint_id,
            )
        ordered = tuple(found[sequence] for sequence in sorted(found))
        result = _result(self._ref, job)
        if result is None or any(event.data.status.is_terminal for event in ordered):
            return ordered
        return (*ordered, self._end(job, result, ordered))

    def end(self, job: JobStatus) -> Event | None:
        """Return the last event of a job that has ended, or None."""
        return next((event for event in self.events(job)[-1:] if event.data.status.is_terminal), None)

    def _end(self, job: JobStatus, result: JobResult, before: tuple[Event, ...]) -> Event:
        known = self.ledger.end() if self.ledger is not None else None
        if known is not None:
            return known
        error = EventError.model_validate(result.error.model_dump()) if result.error else None
        model_id, task = self._about or ("", Task.TEXT2IMG)
        begun = self.ledger.attempt if self.ledger is not None else 1
        attempt = max(begun, *(event.data.attempt for event in before), 1)
        data = EventData(
            task_id=self._ref.task_id or result.task_id,
            job_id=self._job_id,
            attempt=attempt,
            sequence=last_sequence(attempt),
            status=Status.FAILED if error else Status.READY,
            model_id=model_id,
            task=task,
            endpoint_id=self._ref.endpoint_id,
            worker_id=job.worker_id,
            load=result.load,
            runtime=result.runtime,
            artifacts=result.artifacts,
            receipt_url=result.receipt_url,
            timings=result.timings,
            error=error,
        )
        return Event.of(data, timestamp=datetime.now(UTC))
