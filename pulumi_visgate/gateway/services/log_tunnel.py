"""Worker logs, tunnelled from Runpod's own stream (`getWorkerLogs`) to the caller, masked, until the job ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta

from pydantic import BaseModel, Field

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.follow import Follower
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.job import JobStatus
from pulumi_visgate.runpod.models.logs import LogLine
from visgate_contract.signing import JobRef, task_time

QUIET_S = 1.5
"""A finished job's stream ends after this many seconds without a line."""
LOOK_AGAIN_S = 3.0
TAIL = 200
MAX_PENDING = 1_000


class TunnelledLine(BaseModel):
    """One line of a worker's log."""

    worker_id: str
    source: str = Field(examples=["container"])
    line: str
    ts: datetime


class Tunnel:
    """The logs of one endpoint's workers as one stream; use as an async context manager.

    Args:
        caller: Whose endpoint.
        endpoint_id: Which.
        follower: Tells on which workers a job runs.
        last_event_id: Lines up to this one were seen by the client.
        since: No lines from before, UTC.
    """

    def __init__(
        self,
        caller: Caller,
        endpoint_id: str,
        follower: Follower,
        *,
        last_event_id: str = "",
        since: datetime | None = None,
    ) -> None:
        self._caller = caller
        self._endpoint_id = endpoint_id
        self._follower = follower
        self._last_event_id = last_event_id
        self._since = since
        self._lines: asyncio.Queue[tuple[str, LogLine] | RunpodError] = asyncio.Queue(MAX_PENDING)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> "Tunnel":
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add_worker(self, worker_id: str) -> None:
        """Include a worker's log, once."""
        if worker_id not in self._tasks:
            self._tasks[worker_id] = asyncio.create_task(self._read(worker_id))

    def follow_job(self, ref: JobRef, first: JobStatus) -> "asyncio.Task[None]":
        """Include the workers that a job runs on; the task ends when the job does."""
        task = asyncio.create_task(self._job(ref, first))
        self._tasks["job"] = task
        return task

    def follow_endpoint(self) -> None:
        """Include every worker of the endpoint, also those that start later."""
        self._tasks["endpoint"] = asyncio.create_task(self._endpoint())

    async def lines(self, until: "asyncio.Task[None] | None" = None) -> AsyncIterator[tuple[str, TunnelledLine]]:
        """Yield each line with its id, masked; ends when `until` is done and the log is quiet.

        Raises:
            RunpodError: Runpod refused, or did not answer for long.
        """
        while True:
            try:
                async with asyncio.timeout(QUIET_S):
                    found = await self._lines.get()
            except TimeoutError:
                if until is not None and until.done():
                    until.result()
                    return
                continue
            if isinstance(found, RunpodError):
                raise found
            worker_id, line = found
            if self._since is not None and line.ts < self._since:
                continue
            text = masking.current().line(line.line)[: masking.MAX_LINE_CHARACTERS]
            yield line.id, TunnelledLine(worker_id=worker_id, source=str(line.source), line=text, ts=line.ts)

    async def _job(self, ref: JobRef, first: JobStatus) -> None:
        async for status in self._follower.statuses(self._caller, ref, first):
            if status.worker_id:
                self.add_worker(status.worker_id)
            elif status.done:
                await self._add_all()

    async def _endpoint(self) -> None:
        while True:
            try:
                await self._add_all()
            except RunpodError as error:
                await self._lines.put(error)
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _add_all(self) -> None:
        found = await self._caller.runpod.list_endpoint_workers(self._endpoint_id)
        for worker in found.workers:
            self.add_worker(worker.id)

    async def _read(self, worker_id: str) -> None:
        """Copy one worker's lines into the stream; the client reopens what breaks off, and ends with the worker."""
        resumed = self._last_event_id
        stream = self._caller.runpod.get_worker_logs(
            self._endpoint_id, worker_id, tail=None if resumed else TAIL, last_event_id=resumed
        )
        try:
            async with aclosing(stream):
                async for line in stream:
                    await self._lines.put((worker_id, line))
        except RunpodError as error:
            await self._lines.put(error)


def start_of(ref: JobRef) -> datetime | None:
    """Return a time that no line of a job is older than, with a second for clocks that differ."""
    return task_time(ref.task_id) - timedelta(seconds=1) if ref.task_id else None
