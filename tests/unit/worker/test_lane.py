import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.events import RuntimeReport
from visgate_worker.adapters.base import Generation
from visgate_worker.drawing import Drawing
from visgate_worker.failures import JobCancelledError, JobFailedError
from visgate_worker.lane import Drawn, Lane
from visgate_worker.runtime.base import OnStep

LIMIT_S = 20
SMALL = Generation({"prompt": "a fox", "width": 512, "height": 512, "num_inference_steps": 3}, seed=1, steps=3)


class Picture:
    """What a fake runtime draws."""

    def __init__(self, seed: int) -> None:
        self.seed = seed


class Held:
    """A runtime that draws when it is told to, and keeps what it was given."""

    def __init__(self) -> None:
        self.checker = None
        self.batches: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()
        self.fails: Callable[[int], BaseException | None] = lambda _size: None
        self.steps: list[int] = []

    def generate(self, batch: Sequence[Generation], on_step: OnStep) -> list[Any]:
        self.batches.append([one.seed for one in batch])
        self.began.set()
        assert self.go_on.wait(LIMIT_S)
        if error := self.fails(len(batch)):
            raise error
        for step in range(1, batch[0].steps + 1):
            on_step(step)
            self.steps.append(step)
        return [Picture(one.seed) for one in batch]

    def report(self) -> RuntimeReport:
        return RuntimeReport(name="eager", device="cpu", family="flux", batch=len(self.batches[-1]))

    def class_of(self, pipeline: str) -> type:
        return object

    def load(self, folder: object) -> None:
        """Have nothing to load."""

    def improve(self, check: OnStep = lambda _: None) -> bool:
        return False


@pytest.fixture
def runtime() -> Held:
    return Held()


@pytest.fixture
def lane_of() -> Iterator[Callable[..., Lane]]:
    lanes: list[Lane] = []

    def make(**more: Any) -> Lane:
        lanes.append(Lane(**more))
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


def held(lane: Lane, runtime: Held, *wishes: Generation) -> "list[Future[Drawn]]":
    """Queue wishes behind one that is being drawn, and let them go."""
    first = lane.submit(runtime, replace(SMALL, seed=0), lambda _: None)
    assert runtime.began.wait(LIMIT_S)
    futures = [lane.submit(runtime, one, lambda _: None) for one in wishes]
    runtime.go_on.set()
    first.result(LIMIT_S)
    return futures


def seeds(futures: "list[Future[Drawn]]") -> list[int]:
    return [future.result(LIMIT_S).made.seed for future in futures]  # type: ignore[union-attr]  # a fake's picture


def alike(count: int, **changed: Any) -> list[Generation]:
    return [replace(SMALL, seed=seed, **changed) for seed in range(1, count + 1)]


def test_one_call_runs_at_a_time_in_order(lane_of: Callable[..., Lane], runtime: Held) -> None:
    assert seeds(held(lane_of(), runtime, *alike(3))) == [1, 2, 3]
    assert runtime.batches == [[0], [1], [2], [3]]


def test_what_waits_and_is_alike_is_drawn_at_once_where_that_is_allowed(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    one, other, third = alike(3)
    hare = replace(other, arguments={**SMALL.arguments, "prompt": "a hare"})
    larger = replace(third, arguments={**SMALL.arguments, "width": 256})
    futures = held(lane_of(max_batch=3), runtime, one, larger, hare)
    assert seeds(futures) == [1, 3, 2]
    assert runtime.batches == [[0], [1, 2], [3]]
    assert [future.result().report.batch for future in futures] == [2, 1, 2]
    assert futures[0].result().began == futures[2].result().began


def test_large_pictures_clips_and_pictures_from_pictures_are_drawn_alone(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    large = alike(2, arguments={**SMALL.arguments, "width": 1024, "height": 1024})
    clips = alike(2, fps=8)
    drafts = alike(2, arguments={**SMALL.arguments, "image": ["no value to compare by"]})
    held(lane_of(max_batch=8), runtime, *large, *clips, *drafts)[-1].result(LIMIT_S)
    assert [len(batch) for batch in runtime.batches] == [1] * 7


def test_the_pixels_of_one_call_are_bounded(lane_of: Callable[..., Lane], runtime: Held) -> None:
    held(lane_of(max_batch=32), runtime, *alike(6))[-1].result(LIMIT_S)
    assert [len(batch) for batch in runtime.batches] == [1, 4, 2]


def test_a_job_that_is_cancelled_leaves_the_batch_and_the_others_get_theirs(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    lane = lane_of(max_batch=4)

    def cancel(step: int) -> None:
        if step == 2:
            raise JobCancelledError

    first = lane.submit(runtime, replace(SMALL, seed=0), lambda _: None)
    assert runtime.began.wait(LIMIT_S)
    gone, kept = (lane.submit(runtime, one, told) for one, told in zip(alike(2), (cancel, lambda _: None), strict=True))
    runtime.go_on.set()
    with pytest.raises(JobCancelledError):
        gone.result(LIMIT_S)
    assert seeds([first, kept]) == [0, 2]
    assert runtime.batches == [[0], [1, 2]]


def test_when_nobody_wants_it_any_more_the_call_ends_at_its_next_step(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    def cancel(step: int) -> None:
        if step == 2:
            raise JobCancelledError

    runtime.go_on.set()
    lane = lane_of()
    with pytest.raises(JobCancelledError):
        lane.submit(runtime, SMALL, cancel).result(LIMIT_S)
    assert seeds([lane.submit(runtime, replace(SMALL, seed=9), lambda _: None)]) == [9]
    assert runtime.steps == [1, 1, 2, 3]


def test_a_batch_that_fails_is_drawn_one_by_one_and_smaller_from_then_on(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    runtime.fails = lambda size: JobFailedError("does not fit", code=ErrorCode.OUT_OF_MEMORY) if size > 2 else None
    lane = lane_of(max_batch=4)
    assert seeds(held(lane, runtime, *alike(4))) == [1, 2, 3, 4]
    assert [len(batch) for batch in runtime.batches] == [1, 4, 1, 1, 1, 1]
    runtime.began.clear()
    runtime.go_on.clear()
    assert seeds(held(lane, runtime, *alike(4))) == [1, 2, 3, 4]
    assert [len(batch) for batch in runtime.batches[6:]] == [1, 2, 2]


@pytest.mark.parametrize("max_batch", [1, 4])
def test_the_error_of_a_picture_is_its_jobs_and_the_lane_goes_on(
    lane_of: Callable[..., Lane], runtime: Held, max_batch: int
) -> None:
    lane = lane_of(max_batch=max_batch)
    runtime.go_on.set()
    runtime.fails = lambda _: RuntimeError("broke")
    with pytest.raises(RuntimeError, match="broke"):
        lane.submit(runtime, SMALL, lambda _: None).result(LIMIT_S)
    runtime.fails = lambda _: None
    assert seeds([lane.submit(runtime, SMALL, lambda _: None)]) == [1]


def test_idle_time_is_told_once_each_time_and_its_failure_ends_nothing(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    times: list[int] = []
    idle = threading.Semaphore(0)

    def when_idle() -> None:
        times.append(len(runtime.batches))
        idle.release()
        raise RuntimeError

    lane = lane_of(when_idle=when_idle)
    held(lane, runtime, *alike(2))[-1].result(LIMIT_S)
    assert idle.acquire(timeout=LIMIT_S)
    lane.submit(runtime, SMALL, lambda _: None).result(LIMIT_S)
    assert idle.acquire(timeout=LIMIT_S)
    assert times == [3, 4]


def test_an_idle_lane_holds_no_pictures(lane_of: Callable[..., Lane], runtime: Held) -> None:
    idle = threading.Event()
    lane = lane_of(when_idle=idle.set)
    runtime.go_on.set()
    drawing = Drawing(lane, runtime, [SMALL], lambda _done, _steps: None)
    picture = drawing.take(0)
    held_by = weakref.ref(picture)
    assert idle.wait(LIMIT_S)
    del picture
    gc.collect()
    assert held_by() is None


def test_a_job_tells_all_steps_of_its_pictures_and_what_they_took_once(
    lane_of: Callable[..., Lane], runtime: Held
) -> None:
    lane, told = lane_of(max_batch=4), []
    first = lane.submit(runtime, replace(SMALL, seed=0), lambda _: None)
    assert runtime.began.wait(LIMIT_S)
    drawing = Drawing(lane, runtime, alike(2), lambda done, steps: told.append((done, steps)))
    runtime.go_on.set()
    made = [drawing.take(n) for n in range(2)]
    first.result(LIMIT_S)
    assert [one.seed for one in made] == [1, 2]  # type: ignore[union-attr]  # a fake's pictures
    assert (told[0], told[-1]) == ((0, 6), (6, 6))
    assert sorted(told) == told
    assert drawing.wait_s is not None
    assert drawing.step_s is not None
    assert drawing.report is not None
    assert drawing.report.batch == 2
    assert 0 < drawing.step_s <= drawing.generate_s


def test_what_a_failed_job_still_wished_is_not_drawn(lane_of: Callable[..., Lane], runtime: Held) -> None:
    lane = lane_of()
    drawing = Drawing(lane, runtime, alike(3), lambda _done, _steps: None)
    assert runtime.began.wait(LIMIT_S)
    drawing.close()
    runtime.go_on.set()
    with pytest.raises(JobCancelledError):
        drawing.take(2)
    assert runtime.batches == [[1]]
