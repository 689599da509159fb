"""The device's lane: one thread that draws, so one call runs at a time, whatever jobs wait.

Generations that differ in prompt and seed alone, are small, and wait at the same time are drawn by one call where the
operator allows it. None waits for others to come: a batch is what had to wait anyway.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visgate_contract.errors import ErrorCode
from visgate_contract.events import RuntimeReport
from visgate_worker.adapters.base import Generation
from visgate_worker.failures import CALLERS_OWN, JobCancelledError, JobFailedError
from visgate_worker.runtime.base import Clip, OnStep, Runtime

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

BATCH_PIXELS = 1024 * 1024
"""Pixels of one call at most: larger pictures keep a GPU busy alone, and gain nothing from company."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture or clip, and what it took.

    Args:
        made: Picture or clip.
        began: When its call began, on the clock of `time.perf_counter`.
        ended: When it ended.
        steps_s: Seconds of each step but the first, which the encoding of the prompt is part of.
        report: What drew it.
    """

    made: "Image | Clip"
    began: float
    ended: float
    steps_s: tuple[float, ...]
    report: RuntimeReport


@dataclass(slots=True, eq=False)
class _Wish:
    runtime: Runtime
    generation: Generation
    on_step: OnStep
    future: "Future[Drawn]" = field(default_factory=Future)

    def step(self, done: int) -> bool:
        """Tell its job how far it is; False once the job does not want it any more."""
        if self.future.done():
            return False
        try:
            self.on_step(done)
        except Exception as error:  # noqa: BLE001, it is the job's, and ends there
            self.future.set_exception(error)
            return False
        return True


class Lane:
    """Draws what jobs wish, one call after another.

    Args:
        max_batch: Pictures of one call at most.
        when_idle: Called on the lane's thread each time when nothing waits any more.
    """

    def __init__(self, *, max_batch: int = 1, when_idle: Callable[[], object] = lambda: None) -> None:
        self._max_batch = max_batch
        self._when_idle = when_idle
        self._waiting: deque[_Wish] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def submit(self, runtime: Runtime, generation: Generation, on_step: OnStep) -> "Future[Drawn]":
        """Queue one picture or clip.

        Args:
            runtime: What draws it.
            generation: The call.
            on_step: Told after each step how many are done; may raise, which ends the picture and is its error.
        """
        wish = _Wish(runtime, generation, on_step)
        with self._changed:
            self._waiting.append(wish)
            self._changed.notify()
        return wish.future

    def close(self) -> None:
        """End the thread once what waits is done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._draw(batch)
            del batch  # an idle lane holds no pictures
            with self._changed:
                is_idle = not self._waiting
            if is_idle:
                try:
                    self._when_idle()
                except Exception:
                    log.exception("what was to be done while nothing waits has failed")

    def _next(self) -> list[_Wish] | None:
        """Return what waits longest, and what can be drawn with it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if not self._waiting:
                return None
            batch = [self._waiting.popleft()]
            first = batch[0].generation
            key, pixels = first.key(), first.pixels()
            most = min(self._max_batch, BATCH_PIXELS // pixels) if key is not None and pixels else 1
            for other in list(self._waiting):
                if len(batch) >= most:
                    break
                if other.generation.key() == key and other.runtime is batch[0].runtime:
                    batch.append(other)
                    self._waiting.remove(other)
            return batch

    def _draw(self, batch: Sequence[_Wish]) -> None:
        wanted = [wish for wish in batch if wish.step(0)]
        if not wanted:
            return
        try:
            self._call(wanted)
        except JobCancelledError:
            return
        except Exception as error:  # noqa: BLE001, it is the jobs', and ends there
            own = isinstance(error, JobFailedError) and error.code in CALLERS_OWN - {ErrorCode.OUT_OF_MEMORY}
            if len(wanted) == 1 or own:
                for wish in wanted:
                    if not wish.future.done():
                        wish.future.set_exception(error)
                return
            log.warning("%d pictures could not be drawn at once, so each is drawn alone: %s", len(wanted), error)
            self._max_batch = max(1, len(wanted) // 2)
            for wish in wanted:
                self._draw([wish])

    def _call(self, batch: Sequence[_Wish]) -> None:
        marks: list[float] = []

        def on_step(done: int) -> None:
            marks.append(time.perf_counter())
            if not any([wish.step(done) for wish in batch]):
                raise JobCancelledError

        runtime = batch[0].runtime
        began = time.perf_counter()
        made = runtime.generate([wish.generation for wish in batch], on_step)
        ended = time.perf_counter()
        steps = tuple(later - sooner for sooner, later in itertools.pairwise(marks))
        report = runtime.report()
        for wish, one in zip(batch, made, strict=True):
            if not wish.future.done():
                wish.future.set_result(Drawn(one, began, ended, steps, report))
