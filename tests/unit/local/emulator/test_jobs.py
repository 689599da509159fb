import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.jobs import FINAL, JobQueue, JobState, NewJob, public, webhook_body
from pulumi_visgate.local.emulator.settings import Settings
from pulumi_visgate.local.emulator.store import Store

ENDPOINT = "ep1"


class Harness:
    def __init__(self, path: Path) -> None:
        self.store = Store(path / "jobs.sqlite3")
        self.clock = Clock()
        self.changed: list[str] = []
        self.ended: list[str] = []
        options = Settings(data=path, volumes=path, max_attempts=2, result_s=100, sync_result_s=10)
        self.queue = JobQueue(
            self.store, self.clock, options, Bells(), on_change=self.changed.append, on_final=self.ended.append
        )

    def submit(self, **fields: Any) -> str:
        return self.queue.submit(ENDPOINT, "acc", NewJob(**{"input": {"n": 1}, **fields}))

    def state(self, job: str) -> str:
        row = self.queue.get(ENDPOINT, job)
        assert row is not None
        return str(row["status"])


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path)
    yield made
    made.store.close()


def test_a_job_is_taken_once_in_order_and_finished(harness: Harness) -> None:
    first, second = harness.submit(), harness.submit(input="two")
    taken = harness.queue.take(ENDPOINT, "w1")
    assert taken is not None
    assert taken["id"] == first
    assert harness.queue.finish(ENDPOINT, first, "w1", {"output": [1]})
    row = harness.queue.get(ENDPOINT, first)
    assert row is not None
    answer = public(row)
    assert (answer["status"], answer["output"], answer["workerId"]) == ("COMPLETED", [1], "w1")
    assert isinstance(answer["delayTime"], int)
    assert isinstance(answer["executionTime"], int)
    assert harness.ended == [first]
    next_one = harness.queue.take(ENDPOINT, "w1")
    assert next_one is not None
    assert (next_one["id"], next_one["input"]) == (second, "two")
    assert harness.queue.take(ENDPOINT, "w1") is None


def test_low_priority_waits_for_everything_else(harness: Harness) -> None:
    harness.submit(low_priority=True)
    later = harness.submit()
    taken = harness.queue.take(ENDPOINT, "w1")
    assert taken is not None
    assert taken["id"] == later


def test_a_late_progress_report_changes_nothing(harness: Harness) -> None:
    job = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    assert harness.queue.progress(ENDPOINT, job, "w1", {"step": 1})
    harness.queue.finish(ENDPOINT, job, "w1", {"output": "done"})
    assert not harness.queue.progress(ENDPOINT, job, "w1", {"step": 2})
    row = harness.queue.get(ENDPOINT, job)
    assert row is not None
    assert json.loads(row["output"]) == "done"


def test_a_result_of_a_worker_that_lost_the_job_is_dropped(harness: Harness) -> None:
    job = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    harness.queue.abandon(ENDPOINT, "w1", "gone")
    harness.queue.take(ENDPOINT, "w2")
    assert not harness.queue.finish(ENDPOINT, job, "w1", {"output": "stale"})
    assert harness.queue.finish(ENDPOINT, job, "w2", {"output": "fresh"})


def test_a_job_fails_when_too_many_workers_die_with_it(harness: Harness) -> None:
    job = harness.submit()
    for worker in ("w1", "w2"):
        assert harness.queue.take(ENDPOINT, worker) is not None
        harness.queue.abandon(ENDPOINT, worker, "worker exited with exit code -9")
    row = harness.queue.get(ENDPOINT, job)
    assert row is not None
    assert (row["status"], row["error"], row["retries"]) == ("FAILED", "worker exited with exit code -9", 1)


def test_an_error_makes_a_job_failed_and_keeps_its_output(harness: Harness) -> None:
    job = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    harness.queue.finish(ENDPOINT, job, "w1", {"error": {"code": 1}, "output": {"events": []}})
    row = harness.queue.get(ENDPOINT, job)
    assert row is not None
    assert public(row)["error"] == '{"code": 1}'
    assert public(row)["output"] == {"events": []}


def test_cancel_ends_what_has_not_ended(harness: Harness) -> None:
    waiting, running = harness.submit(), harness.submit()
    assert harness.queue.cancel(ENDPOINT, waiting)
    harness.queue.take(ENDPOINT, "w1")
    assert harness.queue.cancel(ENDPOINT, running)
    assert not harness.queue.cancel(ENDPOINT, running)
    assert [harness.state(waiting), harness.state(running)] == ["CANCELLED", "CANCELLED"]


def test_only_failed_and_timed_out_jobs_are_retried(harness: Harness) -> None:
    job = harness.submit()
    assert not harness.queue.retry(ENDPOINT, job)
    harness.queue.take(ENDPOINT, "w1")
    harness.queue.stream(ENDPOINT, job, "w1", 1)
    harness.queue.finish(ENDPOINT, job, "w1", {"error": "no"})
    assert harness.queue.retry(ENDPOINT, job)
    assert harness.state(job) == "IN_QUEUE"
    assert harness.queue.unread(job) == []


def test_purge_removes_what_waits_only(harness: Harness) -> None:
    running = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    harness.submit()
    harness.submit()
    assert harness.queue.purge(ENDPOINT) == 2
    assert harness.state(running) == "IN_PROGRESS"


def test_a_job_that_waits_longer_than_its_ttl_times_out(harness: Harness) -> None:
    job = harness.submit(ttl_ms=10_000)
    due = harness.queue.next_expiry(ENDPOINT)
    assert due is not None
    harness.clock.advance(11)
    assert due < harness.clock.now()
    assert harness.queue.take(ENDPOINT, "w1") is None
    assert harness.queue.expire(ENDPOINT) == []
    assert harness.state(job) == "TIMED_OUT"


def test_a_job_that_runs_too_long_times_out_and_is_to_be_stopped(harness: Harness) -> None:
    job = harness.submit(execution_ms=5_000)
    harness.queue.take(ENDPOINT, "w1")
    assert harness.queue.expire(ENDPOINT) == []
    harness.clock.advance(6)
    assert harness.queue.expire(ENDPOINT) == [(job, "w1")]
    assert harness.state(job) == "TIMED_OUT"


@pytest.mark.parametrize(("sync", "kept_s"), [(False, 100), (True, 10)])
def test_results_are_kept_for_a_while(harness: Harness, sync: bool, kept_s: float) -> None:
    job = harness.submit(sync=sync)
    harness.queue.take(ENDPOINT, "w1")
    harness.queue.finish(ENDPOINT, job, "w1", {"output": 1})
    harness.clock.advance(kept_s - 1)
    assert harness.state(job) == "COMPLETED"
    harness.clock.advance(2)
    assert harness.queue.get(ENDPOINT, job) is None
    harness.queue.expire(ENDPOINT)
    assert harness.store.row("SELECT 1 FROM job") is None


def test_stream_items_are_read_once(harness: Harness) -> None:
    job = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    for item in ("a", "b"):
        harness.queue.stream(ENDPOINT, job, "w1", {"output": item})
    assert harness.queue.unread(job) == [{"output": "a"}, {"output": "b"}]
    assert harness.queue.unread(job) == []
    assert not harness.queue.stream(ENDPOINT, job, "another", {"output": "c"})


def test_recover_puts_running_jobs_back(harness: Harness) -> None:
    job = harness.submit()
    harness.queue.take(ENDPOINT, "w1")
    harness.queue.recover()
    assert harness.state(job) == "IN_QUEUE"


def test_a_webhook_gets_input_and_result(harness: Harness) -> None:
    job = harness.submit(webhook="http://localhost/hook")
    row = harness.queue.get(ENDPOINT, job)
    assert row is not None
    assert webhook_body(row) == {
        "id": job, "status": "IN_QUEUE", "input": {"n": 1}, "webhook": "http://localhost/hook"
    }  # fmt: skip


STEPS = st.lists(
    st.sampled_from(["take", "done", "fail", "progress", "cancel", "abandon", "retry", "late"]), max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_final_state_is_left_by_retry_only(harness: Harness, steps: list[str]) -> None:
    job = harness.submit()
    queue = harness.queue
    for step in steps:
        before = harness.state(job)
        actions: dict[str, Callable[[], object]] = {
            "take": lambda: queue.take(ENDPOINT, "w1"),
            "done": lambda: queue.finish(ENDPOINT, job, "w1", {"output": 1}),
            "fail": lambda: queue.finish(ENDPOINT, job, "w1", {"error": "x"}),
            "progress": lambda: queue.progress(ENDPOINT, job, "w1", 1),
            "cancel": lambda: queue.cancel(ENDPOINT, job),
            "abandon": lambda: queue.abandon(ENDPOINT, "w1", "gone"),
            "retry": lambda: queue.retry(ENDPOINT, job),
            "late": lambda: queue.finish(ENDPOINT, job, "w0", {"output": 2}),
        }
        actions[step]()
        after = harness.state(job)
        if JobState(before) in FINAL and step != "retry":
            assert after == before
    queue.remove_endpoint(ENDPOINT)
