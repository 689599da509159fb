"""How long jobs of an endpoint took lately, and what that means for the next one.

Runpod's API has no list of jobs, so what counts are the ends of jobs that pass by: in answers to whoever asks for them,
in streams, and in Runpod's own calls. They may be lost at any time; then nothing is predicted, and nothing else
changes. Only figures are kept, under the endpoint's id, which is one account's.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from pulumi_visgate.runpod.models.job import EndpointHealth, JobState, JobStatus
from visgate_contract.events import Timings
from visgate_contract.jobs import JobProgress, JobResult

MAX_ENDPOINTS = 4_000
MAX_JOBS = 10_000
SAMPLES = 30
RECENT_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished job.

    Args:
        at: When it was seen to have ended.
        waited_s: From the queue to a worker.
        ran_s: At the worker.
        was_cold: It was its worker's first, which had to start and to load the model.
    """

    at: float
    waited_s: float
    ran_s: float
    was_cold: bool


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the next job can expect.

    Args:
        start_s: Seconds until a worker can begin with it.
        done_s: Seconds until its result.
        samples: How many recent jobs this is taken from.
    """

    start_s: float
    done_s: float
    samples: int


@dataclass(slots=True)
class _Past:
    samples: deque[Sample] = field(default_factory=lambda: deque[Sample](maxlen=SAMPLES))


class History:
    """Recent jobs by endpoint.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._endpoints: OrderedDict[str, _Past] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def job_seen(self, job: JobStatus) -> None:
        """Learn from a job, if it has ended well and its worker says where it ran; each job counts once."""
        if job.status != JobState.COMPLETED or job.execution_time is None or job.id in self._seen:
            return
        self._seen[job.id] = None
        if len(self._seen) > MAX_JOBS:
            self._seen.popitem(last=False)
        body = {"status": str(job.status), "output": job.output, "error": job.error}
        events = JobProgress.from_runpod(body).events
        endpoint_id = events[0].data.endpoint_id if events else None
        if endpoint_id is None:
            return
        past = self._endpoints.setdefault(endpoint_id, _Past())
        self._endpoints.move_to_end(endpoint_id)
        if len(self._endpoints) > MAX_ENDPOINTS:
            self._endpoints.popitem(last=False)
        result = JobResult.from_runpod(body)
        cold = _was_cold(result.timings if result else None)
        past.samples.append(Sample(self._clock(), (job.delay_time or 0) / 1000, job.execution_time / 1000, cold))

    def expect(self, endpoints: Iterable[str], health: EndpointHealth | None, *, is_warm: bool) -> Expectation | None:
        """Return what the next job can expect, or None while too little is known.

        A warm endpoint begins at once, or when the jobs before it are done. A cold one begins as late after the queue
        as its workers' first jobs did lately, the loading of the model included.

        Args:
            endpoints: Endpoints of one account for the same model and task; the first is the job's own.
            health: Counts of jobs and workers of the job's endpoint, if known; its own job may be among them.
            is_warm: A started worker is there.
        """
        recent = [sample for endpoint in endpoints for sample in self._recent(endpoint)]
        warm = [sample.ran_s for sample in recent if not sample.was_cold]
        cold = [sample.waited_s + sample.ran_s for sample in recent if sample.was_cold]
        if not (warm or cold):
            return None
        run_s = median(warm) if warm else 0.0
        if is_warm:
            if not warm:
                return None
            start_s = _queue_s(health, run_s)
        else:
            if not cold:
                return None
            start_s = max(0.0, median(cold) - run_s)
        return Expectation(round(start_s, 1), round(start_s + run_s, 1), len(warm) + len(cold))

    def _recent(self, endpoint_id: str) -> list[Sample]:
        past = self._endpoints.get(endpoint_id)
        if past is None:
            return []
        oldest = self._clock() - RECENT_S
        return [sample for sample in past.samples if sample.at > oldest]


def _was_cold(timings: Timings | None) -> bool:
    """Tell whether a job was its worker's first: only that one reports the start of the process."""
    return timings is not None and (timings.interpreter_s is not None or timings.load_s > 0)


def _queue_s(health: EndpointHealth | None, run_s: float) -> float:
    if health is None:
        return 0.0
    workers = health.workers
    if workers.idle > health.jobs.in_queue:
        return 0.0
    serving = max(1, workers.idle + workers.running)
    return (health.jobs.in_queue + health.jobs.in_progress) / serving * run_s
