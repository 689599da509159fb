"""Following a job: its status is asked for again and again, faster while something happens, until it ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.shared import Shared
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


class _Poll:
    """One job's status, asked for by one task for everybody who listens.

    Args:
        caller: Whose job; every listener's key is the same one.
        ref: Which.
        first: A status that was just read.
        seen: Told of every status that is news.
    """

    def __init__(self, caller: Caller, ref: JobRef, first: JobStatus, seen: Callable[[JobStatus], None]) -> None:
        self.known = first
        self._seen = seen
        seen(first)
        self.version = 0
        self.listeners = 0
        self.error: RunpodError | None = None
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._ask(caller, ref))

    def tell(self, status: JobStatus) -> bool:
        """Take in a status; tell whether it is news."""
        if _essence(status) == _essence(self.known):
            return False
        self.known = status
        self._seen(status)
        self.version += 1
        self._wake()
        return True

    async def news(self) -> None:
        """Wait for whatever happens next."""
        await self._news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _ask(self, caller: Caller, ref: JobRef) -> None:
        pace = Pace()
        try:
            while not self.known.done:
                await asyncio.sleep(pace.wait_s)
                try:
                    status = await caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
                except RunpodError as error:
                    pace.failed(error)
                    continue
                if self.tell(status):
                    pace.news()
                else:
                    pace.nothing()
        except RunpodError as error:
            self.error = error
            self._wake()


def _essence(status: JobStatus) -> tuple[object, ...]:
    return status.status, status.output, status.worker_id


class Follower:
    """Follows jobs: however many listen to one, Runpod is asked once at a time, and only while somebody listens.

    A listener gets the newest status when it is ready for it, so a slow one costs no memory. Statuses are cumulative:
    what it did not see one by one is in the next.

    Args:
        seen: Told of every status that is news.
    """

    def __init__(self, *, seen: Callable[[JobStatus], None] = lambda _status: None) -> None:
        self._seen = seen
        self._polls: dict[tuple[str, str, str], _Poll] = {}
        self._beginning = Shared[JobStatus](kept_s=0)

    async def begin(self, caller: Caller, ref: JobRef) -> JobStatus:
        """Return a job's status as somebody who listens has just seen it, or ask once for everyone who begins now.

        Raises:
            RunpodError: Runpod refused or did not answer.
        """
        poll = self._polls.get(_key(caller, ref))
        if poll is not None and poll.error is None:
            return poll.known
        return await self._beginning.get(
            _key(caller, ref), lambda: caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
        )

    async def statuses(self, caller: Caller, ref: JobRef, first: JobStatus) -> AsyncGenerator[JobStatus, None]:
        """Yield a job's status whenever it changed, beginning with the one at hand, until it is final.

        Args:
            caller: Whose job.
            ref: Which.
            first: A status that was just read.

        Raises:
            RunpodError: Runpod refused, or did not answer for long.
        """
        with self._listening(caller, ref, first) as poll:
            seen = -1
            while True:
                if poll.version != seen:
                    seen, status = poll.version, poll.known
                    yield status
                    if status.done:
                        return
                elif poll.error is not None:
                    raise poll.error
                else:
                    await poll.news()

    async def changed(self, caller: Caller, ref: JobRef, first: JobStatus, *, wait_s: float) -> JobStatus:
        """Return a job's status as soon as it differs from the one at hand, or what it is after `wait_s` seconds."""
        with self._listening(caller, ref, first) as poll:
            if not first.done:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await poll.news()
            return poll.known

    @contextmanager
    def _listening(self, caller: Caller, ref: JobRef, first: JobStatus) -> Iterator[_Poll]:
        key = _key(caller, ref)
        poll = self._polls.get(key)
        if poll is None or poll.task.done():
            poll = self._polls[key] = _Poll(caller, ref, first, self._seen)
        else:
            poll.tell(first)
        poll.listeners += 1
        try:
            yield poll
        finally:
            poll.listeners -= 1
            if not poll.listeners:
                poll.task.cancel()
                if self._polls.get(key) is poll:
                    del self._polls[key]


def _key(caller: Caller, ref: JobRef) -> tuple[str, str, str]:
    return caller.user_hash, ref.endpoint_id, ref.runpod_job_id
