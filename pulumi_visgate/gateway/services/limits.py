"""How long a job may take to begin and to run, as it was asked for and as the platform allows, and what holds it to it.

Runpod ends a job that runs too long by its own policy. It has none for a job that does not begin, but for its whole
life, after which it forgets the job. So that a job which must begin soon ends in a way that its caller hears of, the
worker refuses it when it comes too late, and the gateway cancels it when anyone looks at it after that time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import InvalidField
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.job import JobPolicy, JobState, JobStatus
from visgate_contract.signing import JobRef

RUN_FIELD, START_FIELD = "run_timeout_s", "start_timeout_s"
LEAST_LIFE_S = 10
MARGIN_S = 60
"""What a job's life has beyond its start and its run, so that its end can be told before Runpod forgets it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request says about time; None where it says nothing.

    Args:
        run_s: Longest run.
        start_s: Longest time until a worker takes the job.
        life_s: Longest life, queue included.
        low_priority: Start no worker for it.
    """

    run_s: int | None = None
    start_s: int | None = None
    life_s: int | None = None
    low_priority: bool = False

    def policy(self, settings: Settings) -> JobPolicy:
        """Return the job's policy at Runpod.

        Raises:
            InvalidField: It may not run or wait for so long on this platform.
        """
        run_s = self.longest_run_s(settings)
        most_s = settings.job_ttl_s
        if self.start_s is not None and self.start_s + run_s > most_s:
            raise _too_long(START_FIELD, most_s - run_s, settings.job_ttl_s)
        life_s = min(self.life_s or most_s, most_s)
        if self.start_s is not None:
            life_s = min(life_s, self.start_s + run_s + MARGIN_S)
        return JobPolicy(
            execution_timeout=run_s * 1000,
            ttl=max(life_s, LEAST_LIFE_S) * 1000,
            low_priority=self.low_priority or None,
        )

    def longest_run_s(self, settings: Settings) -> int:
        """Return how long the job may run, in seconds.

        Raises:
            InvalidField: It asks for more than the platform allows.
        """
        if self.run_s is not None and self.run_s > settings.job_timeout_s:
            raise _too_long(RUN_FIELD, settings.job_timeout_s, settings.job_timeout_s)
        return self.run_s or settings.job_timeout_s


def _too_long(field: str, most_s: int, of_platform_s: int) -> InvalidField:
    detail = f"must be at most {max(most_s, 0)}: a job of this platform has {of_platform_s} s for this."
    return InvalidField(field=field, detail=detail, hint="Leave it out for the platform's own limit.")


def is_overdue(ref: JobRef, job: JobStatus) -> bool:
    """Tell whether no worker has taken a job in time."""
    return job.status == JobState.IN_QUEUE and _is_late(ref)


def was_overdue(ref: JobRef, job: JobStatus) -> bool:
    """Tell whether a job that was cancelled had not begun in time.

    Runpod does not tell when that was. A caller's own cancellation counts as one in time only until that time has come.
    """
    return job.status == JobState.CANCELLED and job.worker_id is None and _is_late(ref)


async def enforced(caller: Caller, ref: JobRef, job: JobStatus) -> JobStatus:
    """Return a job's status after it was cancelled, if it has not begun in time (`cancel`)."""
    if not is_overdue(ref, job):
        return job
    try:
        return await caller.runpod.cancel_job(ref.endpoint_id, ref.runpod_job_id)
    except RunpodError:
        return job  # whoever looks next tries again


def _is_late(ref: JobRef) -> bool:
    return ref.start_by is not None and datetime.now(UTC) >= ref.start_by
