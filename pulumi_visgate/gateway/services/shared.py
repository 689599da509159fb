"""Answers of others, asked for once by all who want them at the same time, and kept for a while."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

MAX_KEPT = 1_000

T = TypeVar("T")


class Shared(Generic[T]):
    """Answers that are asked for once for everyone who wants them, and kept for a while.

    Args:
        kept_s: How long an answer is good, in seconds.
        clock: Seconds that only grow.
    """

    def __init__(self, *, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_s = kept_s
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[T]] = {}

    def known(self, key: Hashable) -> T | None:
        """Return a kept answer, or None."""
        found = self._answers.get(key)
        if found is None or self._clock() - found[0] > self._kept_s:
            return None
        return found[1]

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return a kept answer, that of somebody who is asking now, or ask."""
        found = self.known(key)
        if found is not None:
            return found
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, ask))
            asking.add_done_callback(lambda task: self._done(key, task))
        # Shielded: one caller who hangs up does not take the answer from the others.
        return await asyncio.shield(asking)

    def forget(self, key: Hashable) -> None:
        """Keep an answer no longer."""
        self._answers.pop(key, None)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        answer = await ask()
        self._answers[key] = (self._clock(), answer)
        self._answers.move_to_end(key)
        if len(self._answers) > MAX_KEPT:
            self._answers.popitem(last=False)
        return answer

    def _done(self, key: Hashable, task: "asyncio.Task[T]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # the outcome of a question that nobody waits for any more
