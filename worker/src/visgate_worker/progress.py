"""Progress through Runpod: how often, and in which order.

The SDK sends each update from a thread of its own, so two can overtake one another, and one can arrive after the result
and put a finished job back in progress. Here one update is on its way at a time, and none is left when the job ends.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from visgate_contract.events import Event, LoadProgress
from visgate_contract.jobs import JobProgress

log = logging.getLogger(__name__)

MIN_INTERVAL_S = 0.5
MIN_FRACTION = 0.1
LOAD_FRACTION = 0.05
LOAD_INTERVAL_S = 1.0
UPDATE_LIMIT_S = 10.0
CLOSE_LIMIT_S = 3.0

# The SDK's `progress_update(job, progress)`.
SendUpdate = Callable[[dict[str, Any], Any], None]


class Throttle:
    """Decides which steps are worth an event: the first, the last, and at most one each 10 % and half second.

    Args:
        steps: Steps of the whole job.
        clock: Monotonic seconds.
    """

    def __init__(self, steps: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._clock = clock
        self._last_step = 0
        self._last_time = float("-inf")

    def is_due(self, step: int) -> bool:
        """Tell whether this step is reported; counts it as reported if so."""
        now = self._clock()
        first_or_last = self._last_time == float("-inf") or step >= self._steps
        spaced = step - self._last_step >= MIN_FRACTION * self._steps and now - self._last_time >= MIN_INTERVAL_S
        if not (first_or_last or spaced):
            return False
        self._last_step, self._last_time = step, now
        return True


class LoadThrottle:
    """Decides which reports of a model on its way are worth an event: one for each place, and each 5 % of it."""

    def __init__(self) -> None:
        self._last: LoadProgress | None = None

    def is_due(self, progress: LoadProgress | None) -> bool:
        """Tell whether this one is told; counts it as told if so."""
        last = self._last
        if progress is None:
            return False
        if last is not None and last.source == progress.source:
            step = max(progress.total_bytes or 0, 1) * LOAD_FRACTION
            if progress.done_bytes - last.done_bytes < step:
                return False
        self._last = progress
        return True


class ProgressReporter:
    """Reports one job's events through Runpod, newest state only, from a thread of its own.

    Args:
        job: The job as the SDK gave it.
        send: The SDK's `progress_update`.
    """

    def __init__(self, job: dict[str, Any], send: SendUpdate) -> None:
        self._job = job
        self._send = send
        self._wake = threading.Condition()
        self._pending: tuple[Event, ...] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def update(self, events: tuple[Event, ...]) -> None:
        """Report all events so far, as soon as an earlier report is through; replaces one that has not begun."""
        with self._wake:
            self._pending = events
            self._wake.notify()

    def close(self) -> None:
        """Drop what has not begun and wait, for a bounded time, for what has."""
        with self._wake:
            self._pending = None
            self._closed = True
            self._wake.notify()
        self._thread.join(CLOSE_LIMIT_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._pending is not None)
                if self._closed or self._pending is None:
                    return
                events, self._pending = self._pending, None
            before = set(threading.enumerate())
            self._send(self._job, JobProgress(events=events).model_dump(mode="json", exclude_none=True))
            for thread in threading.enumerate():
                if thread not in before and "_thread_target" in thread.name:
                    thread.join(UPDATE_LIMIT_S)
