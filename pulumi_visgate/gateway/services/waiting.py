"""Why a job waits: read from what Runpod tells of the endpoint's queue, its workers and their logs.

Nothing here is needed to serve a job, so whatever Runpod does not answer is left out.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services import deployments
from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.history import History
from pulumi_visgate.gateway.services.market import Market
from pulumi_visgate.gateway.services.observe import LastWords, Observer
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.endpoint import WorkerStatus
from pulumi_visgate.runpod.models.job import EndpointHealth, JobState, JobStatus, WorkerCounts
from pulumi_visgate.runpod.models.logs import LogSource
from pulumi_visgate.runpod.offers import Stock
from visgate_contract.events import LoadProgress
from visgate_contract.jobs import JobProgress
from visgate_contract.signing import JobRef, task_time

SCALING_S = 20.0
"""So long Runpod takes at most to begin with a worker for a job, where it has a machine."""
SUSPICIOUS_S = 30.0
"""After this long, what a worker that starts has logged is looked at: it may have started more than once."""
DEADLINE_S = 4.0

_STARTED = re.compile(r"\b(start|create) container\b", re.IGNORECASE)
_EXITED = re.compile(r"\bexit(ed)?( with)?( exit)?( code)? [1-9]", re.IGNORECASE)


class Reason(StrEnum):
    """What a job waits for."""

    QUEUED = "queued"
    STARTING = "starting"
    THROTTLED = "throttled"
    NO_CAPACITY = "no_capacity"
    CRASH_LOOPING = "crash_looping"
    SCALED_TO_ZERO = "scaled_to_zero"
    LOADING_MODEL = "loading_model"


_SAID = {
    Reason.QUEUED: ("A worker is there and does other jobs first.", "Wait, or let the endpoint have more workers."),
    Reason.STARTING: ("A worker starts: its machine is being prepared, or loads the image.", "Wait a little."),
    Reason.THROTTLED: (
        "Workers are placed, and the machines have no free GPU for them now.",
        "Wait, or allow more GPU pools or data centers.",
    ),
    Reason.NO_CAPACITY: (
        "Runpod has no machine for this endpoint's GPU pools and data centers now.",
        "Wait, or cancel the job and leave region and gpu_pool out.",
    ),
    Reason.CRASH_LOOPING: (
        "The endpoint's workers fail as soon as they start, again and again.",
        "`log_tail` is what the last one said. The job cannot start until that is mended; cancel it.",
    ),
    Reason.SCALED_TO_ZERO: (
        "The endpoint was scaled to no workers at all while nobody used it.",
        "Send a request for this model: it restores the endpoint, and this job starts, too.",
    ),
    Reason.LOADING_MODEL: ("A worker has the job and loads the model.", "Wait; `loading` tells how far it is."),
}


class Waiting(BaseModel):
    """Why a job has not begun to generate yet.

    Args:
        reason: Stable word for it.
        detail: The same for people.
        hint: What to do.
        waited_s: Seconds since the job was accepted.
        queue_position: Jobs of this endpoint that may be before it; Runpod tells the queue's length, not the place.
        workers: How many workers the endpoint has in each state.
        loading: How far the model has come, in bytes.
        log_tail: The last lines of a worker that failed, masked.
        estimated_s: Seconds until it may begin, from what jobs of this endpoint took lately.
    """

    reason: Reason
    detail: str = Field(examples=["A worker starts: its machine is being prepared, or loads the image."])
    hint: str = Field(examples=["Wait a little."])
    waited_s: float | None = Field(default=None, examples=[12.5])
    queue_position: int | None = Field(default=None, examples=[0])
    workers: WorkerCounts | None = None
    loading: LoadProgress | None = None
    log_tail: tuple[str, ...] = ()
    estimated_s: float | None = Field(default=None, examples=[40.0])


@dataclass(frozen=True, slots=True)
class Queue:
    """What is known of a job's endpoint.

    Args:
        caller: Whose job.
        ref: Which.
        health: Counts of jobs and workers, if they matter.
        waited_s: How long the job has waited.
    """

    caller: Caller
    ref: JobRef
    health: EndpointHealth | None
    waited_s: float | None


class Diagnosis:
    """Tells why jobs wait.

    Args:
        observer: Looks at endpoints.
        directory: What callers have.
        history: What recent jobs took.
        market: The stock of the moment.
        now: Current time, time zone aware.
    """

    def __init__(
        self,
        observer: Observer,
        directory: Directory,
        history: History,
        market: Market,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._observer = observer
        self._directory = directory
        self._history = history
        self._market = market
        self._now = now

    async def of(self, caller: Caller, ref: JobRef, job: JobStatus) -> Waiting | None:
        """Return why a job waits, or None if it does not, or Runpod does not tell.

        Args:
            caller: Whose job.
            ref: Which.
            job: Runpod's status.
        """
        waited_s = None if ref.task_id is None else max(0.0, (self._now() - task_time(ref.task_id)).total_seconds())
        loading = _loading(job)
        if loading is not None:
            left_s = self._estimated_s(Queue(caller, ref, None, waited_s), Reason.LOADING_MODEL)
            return _said(Reason.LOADING_MODEL, waited_s).model_copy(update={"loading": loading, "estimated_s": left_s})
        if job.status != JobState.IN_QUEUE:
            return None
        try:
            async with asyncio.timeout(DEADLINE_S):
                health = await self._observer.health(caller, ref.endpoint_id)
                return await self._queued(Queue(caller, ref, health, waited_s), health)
        except (RunpodError, TimeoutError):
            return None

    async def _queued(self, queue: Queue, health: EndpointHealth) -> Waiting:
        reason, words = await self._reason(queue, health.workers), LastWords()
        if reason is Reason.CRASH_LOOPING:
            words = await self._last_words(queue)
        elif reason is Reason.STARTING and (queue.waited_s or 0) > SUSPICIOUS_S:
            words = await self._last_words(queue)
            if _fails_to_start(words):
                reason = Reason.CRASH_LOOPING
            else:
                words = LastWords()
        return _said(reason, queue.waited_s).model_copy(
            update={
                "queue_position": max(0, health.jobs.in_queue - 1),
                "workers": health.workers,
                "log_tail": tuple(text for _, text in words.lines),
                "estimated_s": self._estimated_s(queue, reason),
            }
        )

    def _estimated_s(self, queue: Queue, reason: Reason) -> float | None:
        """Return in how many seconds the job may begin, where something can be told from recent ones."""
        if reason not in {Reason.QUEUED, Reason.STARTING, Reason.LOADING_MODEL}:
            return None
        alike = self._directory.alike(queue.caller.user_hash, queue.ref.endpoint_id)
        expected = self._history.expect(alike, queue.health, is_warm=reason is Reason.QUEUED)
        if expected is None:
            return None
        waited_s = 0.0 if reason is Reason.QUEUED else queue.waited_s or 0.0
        return round(max(0.0, expected.start_s - waited_s), 1)

    async def _reason(self, queue: Queue, workers: WorkerCounts) -> Reason:
        if workers.idle + workers.ready + workers.running:
            return Reason.QUEUED
        if workers.unhealthy:
            return Reason.CRASH_LOOPING
        return Reason.STARTING if workers.initializing else await self._without_workers(queue, workers)

    async def _without_workers(self, queue: Queue, workers: WorkerCounts) -> Reason:
        """Return why no worker even starts."""
        endpoint = await deployments.find(self._directory, queue.caller, queue.ref.endpoint_id)
        if endpoint is not None and endpoint.is_scaled_to_zero:
            return Reason.SCALED_TO_ZERO
        if endpoint is not None and await self._is_out_of_stock(queue.caller, endpoint):
            return Reason.NO_CAPACITY
        if workers.throttled:
            return Reason.THROTTLED
        is_new = queue.waited_s is not None and queue.waited_s < SCALING_S
        return Reason.STARTING if is_new else Reason.NO_CAPACITY

    async def _is_out_of_stock(self, caller: Caller, endpoint: Candidate) -> bool:
        """Tell whether the catalog has none of the GPUs that an endpoint may use (`listGpuTypes`)."""
        prices = await self._market.prices(caller)
        places = endpoint.data_center_ids or (None,)
        stocks = [prices.pool(pool).stock(place) for pool in endpoint.pools for place in places]
        return bool(stocks) and all(stock is Stock.NONE for stock in stocks)

    async def _last_words(self, queue: Queue) -> LastWords:
        """Return what a worker said that has failed or, between two failures, starts again."""
        found = await self._observer.workers(queue.caller, queue.ref.endpoint_id)
        for status in (WorkerStatus.UNHEALTHY, WorkerStatus.INITIALIZING):
            for worker in found.workers:
                if worker.status == status:
                    return await self._observer.last_words(queue.caller, queue.ref.endpoint_id, worker.id)
        return LastWords()


def _said(reason: Reason, waited_s: float | None) -> Waiting:
    detail, hint = _SAID[reason]
    waited_s = None if waited_s is None else round(waited_s, 1)
    return Waiting(reason=reason, detail=detail, hint=hint, waited_s=waited_s)


def _fails_to_start(words: LastWords) -> bool:
    """Tell whether a worker that still starts has been started before, or has failed."""
    system = [text for source, text in words.lines if source == LogSource.SYSTEM]
    return sum(bool(_STARTED.search(text)) for text in system) > 1 or any(_EXITED.search(text) for text in system)


def _loading(job: JobStatus) -> LoadProgress | None:
    """Return how far the model is that a worker loads for this job, if that is what it does."""
    if job.status != JobState.IN_PROGRESS:
        return None
    events = JobProgress.from_runpod({"status": str(job.status), "output": job.output, "error": job.error}).events
    last = events[-1].data if events else None
    return last.loading if last is not None and last.progress is None else None
