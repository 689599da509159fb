from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event, EventData, Status
from visgate_contract.tasks import Task
from visgate_worker.link import ActiveJob, Beat, Emitted, Ended, Fatal, KeepWarm, Loaded, Mark, Ready
from visgate_worker.settings import Settings
from visgate_worker.watchdog import FATAL_GRACE_S, Cause, Watch

if TYPE_CHECKING:
    pass

JOB = ActiveJob(runpod_job_id="1", job_id=None, task_id="t", model_id="m", task=Task.TEXT2IMG, webhook_url=None)
FAILED = Ended(runpod_job_id="1", succeeded=False, counts_as_failure=True)
REFUSED = Ended(runpod_job_id="1", succeeded=False, counts_as_failure=False)
DONE = Ended(runpod_job_id="1", succeeded=True, counts_as_failure=False)


def watch(*, serving: bool = True, **more: Any) -> Watch:
    settings = {"idle_timeout_s": 60, "hang_timeout_s": 100, "start_timeout_s": 10, "load_timeout_s": 1000}
    made = Watch(Settings.model_validate({"model_id": "m"} | settings | more), 0.0)
    if serving:
        made.note(Ready(), 0.0)
        made.note(Loaded(), 0.0)
    return made


def cause(one: Watch, now: float) -> Cause | None:
    verdict = one.verdict(now)
    return verdict.cause if verdict else None


def test_idle_counts_from_the_last_job_and_not_while_one_runs() -> None:
    one = watch()
    one.note(Beat(), 59)
    assert cause(one, 59) is None
    one.note(JOB, 59)
    assert cause(one, 130) is None
    one.note(DONE, 130)
    one.note(Beat(), 189)
    assert cause(one, 189) is None
    one.note(Beat(), 190)
    assert cause(one, 190) is Cause.IDLE


def test_a_worker_that_is_kept_warm_is_not_idle_before_its_time_is_over() -> None:
    one = watch()
    one.note(KeepWarm(warm_for_s=300, idle_timeout_s=60), 10)
    one.note(Beat(), 309)
    assert cause(one, 309) is None
    one.note(Beat(), 310)
    assert cause(one, 310) is Cause.IDLE


def test_without_an_idle_timeout_a_worker_waits_for_ever() -> None:
    one = watch(idle_timeout_s=None)
    one.note(Beat(), 10_000)
    assert cause(one, 10_000) is None


def test_failures_in_a_row_count_and_a_success_forgets_them() -> None:
    one = watch(max_failures=2)
    for n, ended in enumerate((FAILED, DONE, FAILED, REFUSED), start=1):
        one.note(JOB, n)
        one.note(ended, n)
        assert cause(one, n) is None
    one.note(JOB, 9)
    one.note(FAILED, 9)
    assert cause(one, 9) is Cause.FAILURES


def test_a_start_that_takes_too_long_is_a_hang() -> None:
    one = watch(serving=False)
    one.note(Beat(), 9)
    assert cause(one, 9) is None
    assert cause(one, 10) is Cause.HANG


def test_loading_has_its_own_limit_even_with_a_job_waiting() -> None:
    one = watch(serving=False)
    one.note(Ready(), 5)
    one.note(JOB, 6)
    assert cause(one, 1005.9) is None
    assert cause(one, 1006) is Cause.HANG


def test_an_event_loop_that_is_silent_is_a_hang() -> None:
    one = watch(idle_timeout_s=None)
    one.note(Beat(), 50)
    assert cause(one, 149) is None
    assert cause(one, 150) is Cause.HANG


def test_a_job_without_progress_is_a_hang_although_the_loop_beats() -> None:
    one = watch()
    one.note(JOB, 0)
    one.note(Mark(), 50)
    one.note(Beat(), 149)
    assert cause(one, 149) is None
    one.note(Beat(), 150)
    verdict = one.verdict(150)
    assert verdict is not None
    assert verdict.cause is Cause.HANG
    assert "100 s" in verdict.detail


def test_a_fatal_error_waits_for_the_job_that_is_to_be_told() -> None:
    one = watch(serving=False)
    one.note(Ready(), 1)
    one.note(Fatal(code=ErrorCode.MODEL_NOT_FOUND, detail="gone", hint="h"), 2)
    assert cause(one, 2 + FATAL_GRACE_S - 1) is None
    one.note(JOB, 3)
    assert cause(one, 2 + FATAL_GRACE_S) is None
    one.note(FAILED, 4)
    verdict = one.verdict(4)
    assert verdict is not None
    assert (verdict.cause, verdict.code, verdict.detail) == (Cause.FATAL, ErrorCode.MODEL_NOT_FOUND, "gone")


def test_a_fatal_error_without_a_job_acts_after_its_grace() -> None:
    one = watch(serving=False)
    one.note(Ready(), 1)
    one.note(Fatal(code=ErrorCode.MODEL_NOT_FOUND, detail="gone"), 2)
    assert cause(one, 2 + FATAL_GRACE_S) is Cause.FATAL


@pytest.mark.parametrize(("status", "words"), [(-9, "signal 9"), (3, "status 3")])
def test_a_death_says_how(status: int, words: str) -> None:
    assert words in watch().died(status).detail


def test_the_sequence_to_go_on_from_is_the_running_jobs() -> None:
    one = watch()
    data = EventData(task_id="t", sequence=4, status=Status.PROGRESS, model_id="m", task=Task.TEXT2IMG)
    one.note(JOB, 1)
    one.note(Emitted(runpod_job_id="1", event=Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))), 1)
    assert one.last_sequences == {"1": 4}
    one.note(JOB, 2)
    assert one.last_sequences == {"1": 0}
