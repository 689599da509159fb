"""What Runpod says about an endpoint's queue and workers: asked once for everyone who wants to know it now.

The counts of the job API cost none of the account's REST quota, the list of workers does: that one is asked for again
only when the counts have changed, or have been trusted for long.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.log_feed import Writer
from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import EndpointWorkerList
from pulumi_visgate.runpod.models.job import EndpointHealth, WorkerCounts

COUNTS_S = 2.0
WORKERS_S = 30.0
LAST_WORDS_S = 20.0
LAST_WORDS = 20
FIRST_LINE_S = 3.0
SILENCE_S = 0.5
"""So long without a line, and a log's end is here."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Workers of an endpoint, and the counts they were listed at."""

    counts: WorkerCounts
    workers: EndpointWorkerList


@dataclass(frozen=True, slots=True)
class LastWords:
    """The last lines of a worker's log, masked: source and text of each."""

    lines: tuple[tuple[str, str], ...] = ()


class Observer:
    """Looks at endpoints.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = Shared[EndpointHealth](kept_s=COUNTS_S, clock=clock)
        self._workers = Shared[Seen](kept_s=WORKERS_S, clock=clock)
        self._last_words = Shared[LastWords](kept_s=LAST_WORDS_S, clock=clock)

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

    async def last_words(self, caller: Caller, endpoint_id: str, worker_id: str) -> LastWords:
        """Return the last lines of a worker's log, masked (`getWorkerLogs`); none when it has gone.

        Raises:
            RunpodError: Runpod refused or did not answer.
        """

        async def ask() -> LastWords:
            return await _tail(caller, endpoint_id, worker_id)

        return await self._last_words.get((*_key(caller, endpoint_id), worker_id), ask)


async def _tail(caller: Caller, endpoint_id: str, worker_id: str) -> LastWords:
    writer, found = Writer(worker_id, masking.current()), list[tuple[str, str]]()
    stream = caller.runpod.get_worker_logs(endpoint_id, worker_id, tail=LAST_WORDS)
    async with aclosing(stream):
        try:
            while len(found) < LAST_WORDS:
                async with asyncio.timeout(SILENCE_S if found else FIRST_LINE_S):
                    line = await anext(stream)
                found.append((str(line.source), writer.shown(str(line.source), line.line)))
        except (TimeoutError, StopAsyncIteration, NotFound):
            pass
    return LastWords(tuple(found))


def _key(caller: Caller, endpoint_id: str) -> tuple[str, str]:
    return caller.user_hash, endpoint_id
