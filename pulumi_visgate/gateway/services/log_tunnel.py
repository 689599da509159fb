"""Worker logs, tunnelled from Runpod's own stream (`getWorkerLogs`) to the caller, masked, until the job ends."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.follow import Follower, Pace
from pulumi_visgate.gateway.services.log_cursor import Cursor, time_of
from pulumi_visgate.gateway.services.log_feed import KEPT_LINES, Entry, Feed, Feeds, Place, Writer
from pulumi_visgate.gateway.services.observe import Observer
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.endpoint import WorkerStatus
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.signing import JobRef, task_time

QUIET_S = 1.5
"""A finished job's stream ends after this many seconds without a line."""
LOOK_AGAIN_S = 3.0
TAIL = 200
BATCH = 100

_STARTING = frozenset({WorkerStatus.INITIALIZING, WorkerStatus.UNHEALTHY})


@dataclass(frozen=True, slots=True)
class Lines:
    """What is to be sent next.

    Args:
        lost: Lines that were forgotten before they could be sent.
        lines: Each with its id, as JSON.
    """

    lost: int = 0
    lines: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Reader:
    """How far one listener has read in one feed; nowhere yet while `number` is None."""

    feed: Feed
    stack: AsyncExitStack
    number: int | None = None


class Tunnel:
    """The logs of one endpoint's workers as one stream for one listener; use as an async context manager.

    Args:
        caller: Whose endpoint.
        endpoint_id: Which.
        feeds: Reads the logs.
        observer: Tells which workers there are.
        follower: Tells on which worker a job runs.
        cursor: What the client has seen.
        since: No lines from before, UTC.
    """

    def __init__(
        self,
        caller: Caller,
        endpoint_id: str,
        *,
        feeds: Feeds,
        observer: Observer,
        follower: Follower,
        cursor: Cursor,
        since: datetime | None = None,
    ) -> None:
        self._caller = caller
        self._endpoint_id = endpoint_id
        self._feeds = feeds
        self._observer = observer
        self._follower = follower
        self._cursor = cursor
        self._since = since
        self._wake = asyncio.Event()
        self._wanted: dict[str, None] = {}
        self._only: str | None = None
        self._readers: dict[str, _Reader] = {}
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Tunnel":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        for reader in self._readers.values():
            await reader.stack.aclose()

    async def lines(self, watching: Coroutine[None, None, None]) -> AsyncGenerator[Lines, None]:
        """Yield what there is to send, as soon as it is there, until the watch is over and the logs are quiet.

        Args:
            watching: `job` or `endpoint`, which say whose logs belong into the stream.

        Raises:
            RunpodError: Runpod refused, or did not answer for long.
        """
        watch = self._watch = asyncio.create_task(watching)
        watch.add_done_callback(lambda _: self._wake.set())
        while True:
            self._wake.clear()
            await self._open_and_close()
            for reader in tuple(self._readers.values()):
                async for missed in self._missed(reader):
                    yield missed
            found = self._next()
            if found.lines or found.lost:
                yield found
                continue
            if not watch.done():
                await self._wake.wait()
                continue
            watch.result()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def job(self, ref: JobRef, first: JobStatus) -> None:
        """Include the worker that a job runs on and, as long as it waits, those that start; ends with the job."""
        starting: asyncio.Task[None] | None = None
        try:
            async for status in self._follower.statuses(self._caller, ref, first):
                if status.worker_id:
                    self._only = status.worker_id
                    self._want(status.worker_id)
                elif self._only is None and starting is None and not status.done:
                    starting = asyncio.create_task(self.endpoint(_STARTING))
                elif status.done and self._only is None:
                    await self._look(frozenset(WorkerStatus))
                if self._only is not None and starting is not None:
                    starting.cancel()
        finally:
            if starting is not None:
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)

    async def endpoint(self, states: frozenset[WorkerStatus] = frozenset(WorkerStatus)) -> None:
        """Include every worker of the endpoint in one of these states, also those that start later; never ends."""
        pace = Pace()
        while True:
            try:
                await self._look(states)
            except NotFound:
                raise
            except RunpodError as error:
                pace.failed(error)
                await asyncio.sleep(pace.wait_s)
            else:
                pace.news()
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _look(self, states: frozenset[WorkerStatus]) -> None:
        found = await self._observer.workers(self._caller, self._endpoint_id)
        for worker in found.workers:
            if worker.status in states:
                self._want(worker.id)

    def _want(self, worker_id: str) -> None:
        if worker_id not in self._wanted:
            self._wanted[worker_id] = None
        self._wake.set()

    async def _open_and_close(self) -> None:
        """Listen to what belongs into the stream, and no more to what does not."""
        for worker_id in tuple(self._wanted):
            if worker_id not in self._readers and self._only in {None, worker_id}:
                stack = AsyncExitStack()
                listening = self._feeds.listening(self._caller, self._endpoint_id, worker_id, self._wake)
                self._readers[worker_id] = _Reader(await stack.enter_async_context(listening), stack)
        if self._only is not None:
            for worker_id in [each for each in self._readers if each != self._only]:
                await self._readers.pop(worker_id).stack.aclose()

    async def _missed(self, reader: _Reader) -> AsyncGenerator[Lines, None]:
        """Find where to begin in a feed; yield what the client has not seen and the feed has forgotten."""
        feed = reader.feed
        if reader.number is not None or not (feed.is_settled or feed.is_over):
            return
        seen = self._cursor.place(feed.worker_id)
        moment = self._since if seen is None and self._cursor.rest is None else self._cursor.rest
        if seen is not None:
            moment = time_of(seen)
            number = feed.find(seen)
            if number is not None:
                reader.number = number + 1
                return
        if moment is None:
            reader.number = feed.newest(TAIL)
            return
        reader.number = feed.since(moment)
        if reader.number is not None:
            return
        async for lines in self._from_runpod(reader, seen, moment):
            yield lines
        if reader.number is None:
            reader.number = feed.newest(KEPT_LINES)

    async def _from_runpod(self, reader: _Reader, seen: Place | None, moment: datetime) -> AsyncGenerator[Lines, None]:
        """Yield lines that are older than the feed, until one is found there."""
        feed = reader.feed
        writer = Writer(feed.worker_id, masking.current())
        stream = self._caller.runpod.get_worker_logs(
            self._endpoint_id,
            feed.worker_id,
            since=None if seen is not None else moment,
            last_event_id=seen.id if seen is not None else "",
        )
        async with aclosing(stream):
            while True:
                try:
                    async with asyncio.timeout(QUIET_S):
                        entry = writer.entry(await anext(stream))
                except (TimeoutError, StopAsyncIteration):
                    return
                reader.number = feed.find(entry.place)
                if reader.number is not None:
                    return
                yield Lines(lines=(self._sent(feed, entry),))

    def _next(self) -> Lines:
        """Return the next lines of all feeds, in the order of their times."""
        lost, found = 0, []
        for reader in self._readers.values():
            if reader.number is None:
                continue
            forgotten, reader.number, entries = reader.feed.read(reader.number, BATCH)
            lost += forgotten
            found.append([(entry.ts, reader.feed, entry) for entry in entries])
            if reader.feed.error is not None and not entries:
                raise reader.feed.error
        merged = heapq.merge(*found, key=lambda each: each[0]) if len(found) > 1 else (found or [[]])[0]
        return Lines(lost, tuple(self._sent(feed, entry) for _, feed, entry in merged))

    def _sent(self, feed: Feed, entry: Entry) -> tuple[str, str]:
        self._cursor.move(feed.worker_id, entry.place)
        return str(self._cursor), entry.data


def start_of(ref: JobRef) -> datetime | None:
    """Return a time that no line of a job is older than, with a second for clocks that differ."""
    return task_time(ref.task_id) - timedelta(seconds=1) if ref.task_id else None
