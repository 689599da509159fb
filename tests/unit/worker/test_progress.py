import itertools
import threading
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.events import Event, EventData, Status
from visgate_contract.tasks import Task
from visgate_worker.progress import ProgressReporter, Throttle


def event(sequence: int) -> Event:
    data = EventData(task_id="t", sequence=sequence, status=Status.PROGRESS, model_id="m", task=Task.TEXT2IMG)
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


@given(st.integers(min_value=1, max_value=1200), st.floats(min_value=0, max_value=100))
def test_first_and_last_are_reported_and_never_more_than_a_dozen(steps: int, step_s: float) -> None:
    now = 0.0
    throttle = Throttle(steps, clock=lambda: now)
    reported = []
    for step in range(steps + 1):
        if throttle.is_due(step):
            reported.append(step)
        now += step_s
    assert reported[0] == 0
    assert reported[-1] == steps
    assert len(reported) <= 12


def test_fast_steps_are_reported_each_half_second() -> None:
    now = 0.0
    throttle = Throttle(100, clock=lambda: now)
    reported = []
    for step in range(101):
        if throttle.is_due(step):
            reported.append(now)
        now += 0.02
    gaps = [later - earlier for earlier, later in itertools.pairwise(reported[:-1])]
    assert gaps
    assert min(gaps) >= 0.5


class Sdk:
    """Sends each update from a thread of its own, as the SDK does, and holds it until it is let go."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.on_their_way = 0
        self.most_at_once = 0
        self.go = threading.Event()
        self.begun = threading.Event()

    def progress_update(self, job: dict[str, Any], progress: dict[str, Any]) -> None:
        def _thread_target() -> None:
            self.on_their_way += 1
            self.most_at_once = max(self.most_at_once, self.on_their_way)
            self.begun.set()
            self.go.wait(10)
            self.sent.append([one["data"]["sequence"] for one in progress["events"]])
            self.on_their_way -= 1

        threading.Thread(target=_thread_target, daemon=True).start()


def test_one_update_is_on_its_way_at_a_time_and_the_newest_follows() -> None:
    sdk = Sdk()
    reporter = ProgressReporter({"id": "1"}, sdk.progress_update)
    events = tuple(event(n) for n in range(5))
    reporter.update(events[:1])
    assert sdk.begun.wait(10)
    for count in range(2, 6):
        reporter.update(events[:count])
    sdk.begun.clear()
    sdk.go.set()
    assert sdk.begun.wait(10)
    reporter.close()
    assert sdk.most_at_once == 1
    assert sdk.sent == [[0], [0, 1, 2, 3, 4]]


def test_nothing_is_sent_after_close() -> None:
    sdk = Sdk()
    sdk.go.set()
    reporter = ProgressReporter({"id": "1"}, sdk.progress_update)
    reporter.close()
    reporter.update((event(0),))
    assert sdk.sent == []
    assert sdk.on_their_way == 0
