"""Webhooks of jobs: the finished job is posted; anything but 200 is tried twice more."""

import asyncio

import httpx
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_fixed

from pulumi_visgate.local.emulator.store import Doc

_ATTEMPTS = 3
_TIMEOUT_S = 10.0


class _Refused(Exception):  # noqa: N818, a signal between two functions of this module
    """The receiver did not answer 200."""


class Webhooks:
    """Delivers job results in the background.

    Args:
        pause_s: Seconds between attempts.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(self, url: str, body: Doc) -> None:
        """Start to deliver one result; its failure stops nothing."""
        task = asyncio.create_task(self._deliver(url, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is not delivered yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, url: str, body: Doc) -> None:
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(_ATTEMPTS),
                wait=wait_fixed(self._pause_s),
                retry=retry_if_exception_type((_Refused, httpx.HTTPError)),
            ):
                with attempt:
                    await _post(url, body)
        except (RetryError, httpx.InvalidURL):
            return


async def _post(url: str, body: Doc) -> None:
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
        answer = await client.post(url, json=body)
    if answer.status_code != httpx.codes.OK:
        raise _Refused
