"""Waiting for a rollout: looks at Runpod, tells what it sees, and can take the change back; no Pulumi."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pulumi_visgate.resources._report import Report
from pulumi_visgate.resources._rollout import Look, Rollout, Verdict, Watch, makes_release, pauses, remaining, undo
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.endpoint import Endpoint, EndpointReleaseList, EndpointWorkerList, UpdateEndpoint
from visgate_contract.redaction import Redactor

LOOK_TIMEOUT_S = 30.0
TAIL_LINES = 15
_SHAPES = Redactor()
TAIL_TIMEOUT_S = 3.0
"""How long to read, in seconds: the stream stays open after the tail, so its end cannot be seen."""
_TOLD_WORKERS = 3


class RolloutClient(Protocol):
    """What is asked of `AsyncRunpodClient` here."""

    async def get_endpoint(self, id_: str, /) -> Endpoint:
        """Call `getEndpoint`."""

    async def update_endpoint(self, id_: str, request: UpdateEndpoint, /) -> Endpoint:
        """Call `updateEndpoint`."""

    async def list_endpoint_releases(self, id_: str, /) -> EndpointReleaseList:
        """Call `listEndpointReleases`."""

    async def list_endpoint_workers(self, id_: str, /) -> EndpointWorkerList:
        """Call `listEndpointWorkers`."""

    def get_worker_logs(self, endpoint_id: str, worker_id: str, /, *, tail: int) -> Any:
        """Call `getWorkerLogs`."""


class End(StrEnum):
    """How waiting has ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How waiting has ended, in words too.

    Args:
        end: How.
        text: Why.
    """

    end: End
    text: str = ""


class Waiter:
    """Waits for the rollouts of one endpoint.

    Args:
        client: Client of the account.
        endpoint: Its id.
        rollout: How long to wait.
        report: Told about progress and trouble; masks secrets.
        stop: Set to end the waiting.
        mask: Takes secrets out of a log line.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        client: RolloutClient,
        endpoint: str,
        rollout: Rollout,
        report: Report,
        stop: asyncio.Event,
        *,
        mask: Callable[[str], str] = _SHAPES.line,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._rollout = rollout
        self._report = report
        self._stop = stop
        self._mask = mask
        self._clock = clock
        self._told: set[tuple[str, str]] = set()
        self._status = ""

    async def apply(self, change: UpdateEndpoint | None) -> tuple[Outcome, UpdateEndpoint | None]:
        """Make a change and wait until it has rolled out.

        Args:
            change: What the program wants to have changed; None waits for what an earlier run has begun.

        Returns:
            How it ended, and the change that takes it back; None when this call has changed nothing.

        Raises:
            RunpodError: The change could not be made; nothing has changed.
        """
        before = await self._client.get_endpoint(self._endpoint)
        left = remaining(change, before) if change is not None else None
        former, back, after = None, None, before
        if left is not None:
            if makes_release(left):
                former = (await self._client.list_endpoint_releases(self._endpoint)).endpoint_version
            after = await self._client.update_endpoint(self._endpoint, left)
            back = undo(left, before)
        return await self.wait(minimum=after.workers.min or 0, former=former), back

    async def wait(self, *, minimum: int, former: int | None = None) -> Outcome:
        """Look until the release is out, has failed, or waiting is interrupted.

        Args:
            minimum: Workers that the endpoint always keeps.
            former: Release before the change.
        """
        watch = Watch(self._rollout, minimum=minimum, started=self._clock(), former=former)
        following = pauses()
        look: Look | None = None
        while True:
            try:
                seen = await self._in_time(self._look())
            except NotFound:
                return Outcome(End.FAILED, "the endpoint is gone")
            look = seen or look
            verdict = watch.see(seen, self._clock())
            if verdict is Verdict.DONE:
                self._report.note(f"rollout: {_done(look)}")
                return Outcome(End.DONE)
            if verdict is Verdict.FAILED:
                return Outcome(End.FAILED, watch.reason)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), following())
                return Outcome(End.INTERRUPTED, f"interrupted: {look.text() if look else 'not seen yet'}")

    async def _in_time(self, looking: Coroutine[Any, Any, Look | None]) -> Look | None:
        """Look, but not longer than a while: the account's quota may be used up for an hour."""
        look, stopped = asyncio.create_task(looking), asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({look, stopped}, timeout=LOOK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if look in done:
                return look.result()
        finally:
            look.cancel()
            stopped.cancel()
        self._say("Runpod does not answer in time")
        return None

    async def _look(self) -> Look | None:
        try:
            releases = await self._client.list_endpoint_releases(self._endpoint)
            workers = await self._client.list_endpoint_workers(self._endpoint)
        except NotFound:
            raise
        except RunpodError as error:
            self._say(f"Runpod does not answer, looking again. {error}")
            return None
        look = Look.of(releases, workers)
        self._say(look.text())
        await self._tell("UNHEALTHY", look.ill)
        await self._tell("THROTTLED, it waits for capacity", look.throttled)
        return look

    async def _tell(self, state: str, workers: Sequence[str]) -> None:
        for worker in workers:
            if (worker, state) in self._told or len(self._told) >= _TOLD_WORKERS:
                continue
            self._told.add((worker, state))
            text = f"worker {worker} is {state}"
            if lines := await self.tail(worker):
                text += "; the end of its log:\n" + "\n".join(f"  {line}" for line in lines)
            self._report.warn(f"rollout: {text}")

    def _say(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._report.status(f"rollout: {text}")

    async def tail(self, worker: str) -> list[str]:
        """Return the newest lines of a worker's log, none when it cannot be read."""
        lines: list[str] = []
        with suppress(RunpodError, TimeoutError):
            stream = self._client.get_worker_logs(self._endpoint, worker, tail=TAIL_LINES)
            async with asyncio.timeout(TAIL_TIMEOUT_S), aclosing(stream):
                async for line in stream:
                    lines.append(f"{line.source}: {self._mask(line.line)}")
                    if len(lines) >= TAIL_LINES:
                        break
        return lines


def _done(look: Look | None) -> str:
    if look is None or not look.total:
        return "no worker runs, so there is nothing to roll; the next one starts with the new release"
    return f"done, {look.text()}"
