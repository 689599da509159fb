"""What Runpod says about an endpoint's queue and workers: asked once for everyone who wants to know it now.

The counts of the job API cost none of the account's REST quota, the list of workers does: that one is asked for again
only when the counts have changed, or have been trusted for long.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.runpod.models.endpoint import EndpointWorkerList
from pulumi_visgate.runpod.models.job import EndpointHealth, WorkerCounts

COUNTS_S = 2.0
WORKERS_S = 30.0
MAX_KEYS = 4_000

T = TypeVar("T")
Key = tuple[str, ...]


class Shared(Generic[T]):
    """Answers that many may want at the same time: one question for all of them, and the answer trusted for a while.

    Args:
        trusted_s: For how long, in seconds.
        clock: Seconds that only grow.
    """

    def __init__(self, *, trusted_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._trusted_s = trusted_s
        self._clock = clock
        self._answers: OrderedDict[Key, tuple[float, T]] = OrderedDict()
        self._asking: dict[Key, asyncio.Task[T]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[T]]) -> T:
        """Return an answer that is trusted, or the one that is on its way, or ask.

        Args:
            key: What is asked, and for whom.
            ask: Asks.
        """
        known = self._answers.get(key)
        if known is not None and self._clock() - known[0] < self._trusted_s:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            asking.add_done_callback(lambda task: self._done(key, task))
        # Shielded: one caller who hangs up does not take the answer from the others.
        return await asyncio.shield(asking)

    def forget(self, key: Key) -> None:
        """Trust no answer that was given before."""
        self._answers.pop(key, None)

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[T]]) -> T:
        answer = await ask()
        self._answers[key] = (self._clock(), answer)
        self._answers.move_to_end(key)
        if len(self._answers) > MAX_KEYS:
            self._answers.popitem(last=False)
        return answer

    def _done(self, key: Key, task: "asyncio.Task[T]") -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # the outcome of a question that nobody waits for any more


@dataclass(frozen=True, slots=True)
class Seen:
    """Workers of an endpoint, and the counts they were listed at."""

    counts: WorkerCounts
    workers: EndpointWorkerList


class Observer:
    """Looks at endpoints.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = Shared[EndpointHealth](trusted_s=COUNTS_S, clock=clock)
        self._workers = Shared[Seen](trusted_s=WORKERS_S, clock=clock)

    async def health(self, caller: Caller, endpoint_id: str) -> EndpointHealth:
        """Return how many jobs and workers an endpoint has in each state (`health`).

        Raises:
            RunpodError: Runpod refused or did not answer.
        """
        return await self._counts.get(_key(caller, endpoint_id), lambda: caller.runpod.endpoint_health(endpoint_id))

    async def workers(self, caller: Caller, endpoint_id: str) -> EndpointWorkerList:
        """Return the workers of an endpoint (`listEndpointWorkers`).

        Raises:
            RunpodError: Runpod refused or did not answer.
        """
        key, counts = _key(caller, endpoint_id), (await self.health(caller, endpoint_id)).workers

        async def ask() -> Seen:
            return Seen(counts, await caller.runpod.list_endpoint_workers(endpoint_id))

        seen = await self._workers.get(key, ask)
        if seen.counts != counts:
            self._workers.forget(key)
            seen = await self._workers.get(key, ask)
        return seen.workers


def _key(caller: Caller, endpoint_id: str) -> Key:
    return caller.user_hash, endpoint_id
