"""How many jobs may be at the device, so that the next one is taken when it can begin, and not before.

A job whose files are still being made and uploaded holds no place: the next one is drawn meanwhile. A job that would
have to wait for the device stays in Runpod's queue, where another worker can have it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

FINISHING = 2
"""Jobs beyond those at the device whose files may still be on their way."""

Jobs = list[dict[str, Any]] | None
Fetch = Callable[..., Coroutine[Any, Any, Jobs]]


class Places:
    """The places at the device. All but `leave` belong to the event loop.

    Args:
        number: How many there are.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken: set[str] = set()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self, job_id: str) -> None:
        """Give a job's place to another one; from any thread, and a second time does nothing."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, job_id)

    def gated(self, fetch: Fetch) -> Fetch:
        """Return what fetches jobs as `fetch` does, once there are places for them, and no more than these.

        Args:
            fetch: The SDK's `get_job(session, num_jobs)`.
        """

        async def get_job(session: Any, num_jobs: int = 1) -> Jobs:
            self._loop = asyncio.get_running_loop()
            jobs = await fetch(session, min(num_jobs, await self._free()))
            self._taken.update(str(job.get("id")) for job in jobs or ())
            return jobs

        return get_job

    async def _free(self) -> int:
        while not (free := self._number - len(self._taken)):
            self._changed.clear()
            await self._changed.wait()
        return free

    def _leave(self, job_id: str) -> None:
        self._taken.discard(job_id)
        self._changed.set()
