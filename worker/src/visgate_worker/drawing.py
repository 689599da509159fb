"""The pictures of one job, in the device's lane: how far they are, and what they took."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from visgate_contract.events import RuntimeReport
from visgate_worker.adapters.base import Generation
from visgate_worker.failures import JobCancelledError
from visgate_worker.lane import Drawn, Lane
from visgate_worker.runtime.base import Clip, Runtime

if TYPE_CHECKING:
    from PIL.Image import Image

# Told how many steps of how many are done; raising ends the job's pictures.
OnProgress = Callable[[int, int], object]


class Drawing:
    """Queues every picture of a job at once; what the lane can draw together it does.

    Args:
        lane: The device.
        runtime: What draws.
        generations: The pictures.
        on_progress: Told after each step.
    """

    def __init__(
        self, lane: Lane, runtime: Runtime, generations: Sequence[Generation], on_progress: OnProgress
    ) -> None:
        self.wait_s: float | None = None
        self.generate_s = 0.0
        self.report: RuntimeReport | None = None
        self._on_progress = on_progress
        self._steps = [generation.steps for generation in generations]
        self._done = [0] * len(generations)
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._steps_s: list[float] = []
        self._until = 0.0
        on_progress(0, sum(self._steps))
        self._queued = time.perf_counter()
        self._wished: list[Future[Drawn] | None] = [
            lane.submit(runtime, one, partial(self._step, n)) for n, one in enumerate(generations)
        ]

    def _step(self, n: int, step: int) -> None:
        if self._is_over.is_set():
            raise JobCancelledError
        with self._lock:
            self._done[n] = min(step, self._steps[n])
            done = sum(self._done)
        self._on_progress(done, sum(self._steps))

    def take(self, n: int) -> "Image | Clip":
        """Wait for the n-th picture and let go of it.

        Raises:
            Exception: What became of it instead.
        """
        wished = self._wished[n]
        self._wished[n] = None
        if wished is None:
            message = "a picture can be taken once"
            raise RuntimeError(message)
        drawn = wished.result()
        if self.wait_s is None:
            self.wait_s = max(0.0, drawn.began - self._queued)
        # Pictures that were drawn together took their time once.
        self.generate_s += max(0.0, drawn.ended - max(drawn.began, self._until))
        self._until = drawn.ended
        self._steps_s += drawn.steps_s
        self.report = drawn.report
        return drawn.made

    @property
    def step_s(self) -> float | None:
        """The median of the steps."""
        return statistics.median(self._steps_s) if self._steps_s else None

    def close(self) -> None:
        """Drop what has not been drawn."""
        self._is_over.set()
