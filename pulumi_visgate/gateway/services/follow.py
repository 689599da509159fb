"""Following a job: its status is asked for again and again, faster while something happens, until it ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.runpod.errors import DeadlineExceeded, RateLimited, RunpodError, RunpodUnreachable, ServerFault
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.signing import JobRef

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 1.0
GROWTH = 1.3
MAX_FAILURES_IN_A_ROW = 20

_PASSING = (RunpodUnreachable, ServerFault, RateLimited, DeadlineExceeded)


@dataclass(slots=True)
class Pace:
    """How long to wait before the next question, in seconds: short after news, growing without."""

    wait_s: float = FIRST_WAIT_S
    failures: int = 0

    def news(self) -> None:
        """Something happened, so more may follow soon."""
        self.wait_s, self.failures = FIRST_WAIT_S, 0

    def nothing(self) -> None:
        """Nothing happened."""
        self.wait_s, self.failures = min(self.wait_s * GROWTH, LONGEST_WAIT_S), 0

    def failed(self, error: RunpodError) -> None:
        """Runpod did not answer; wait longer, and give up at last.

        Raises:
            RunpodError: It is not a passing fault, or too many came in a row.
        """
        self.failures += 1
        if not isinstance(error, _PASSING) or self.failures > MAX_FAILURES_IN_A_ROW:
            raise error
        asked_for = error.retry_after_s if isinstance(error, RateLimited) else None
        self.wait_s = max(LONGEST_WAIT_S, asked_for or 0)


async def statuses(caller: Caller, ref: JobRef, first: JobStatus) -> AsyncIterator[JobStatus]:
    """Yield a job's status whenever it changed, beginning with the one at hand, until it is final.

    Args:
        caller: Whose job.
        ref: Which.
        first: A status that was just read.

    Raises:
        RunpodError: Runpod refused, or did not answer for long.
    """
    pace, known = Pace(), first
    yield first
    while not known.done:
        await asyncio.sleep(pace.wait_s)
        try:
            now = await caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
        except RunpodError as error:
            pace.failed(error)
            continue
        if (now.status, now.output, now.worker_id) == (known.status, known.output, known.worker_id):
            pace.nothing()
            continue
        pace.news()
        known = now
        yield now
