"""The real supervisor over serving processes that behave badly; these say what to the supervisor, and load nothing."""

import os
import select
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobResult

if TYPE_CHECKING:
    from tests.unit.worker.conftest import RunpodQueue, Worker

TASK_ID = "task_" + "s" * 26
PRELUDE = """
import os, signal, subprocess, sys, time
from datetime import UTC, datetime
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event, EventData, Status
from visgate_contract.tasks import Task
from visgate_worker.link import *
link = Link(int(os.environ[LINK_FD_ENV]))
def event(sequence, status):
    data = EventData(task_id=TASK_ID, sequence=sequence, status=status, model_id="m", task=Task.TEXT2IMG)
    link.send(Emitted(runpod_job_id="job-1", event=Event.of(data, timestamp=datetime.now(UTC))))
def serve():
    link.send(Ready()); link.send(Loaded())
def take():
    link.send(ActiveJob(runpod_job_id="job-1", job_id=None, task_id=TASK_ID, model_id="m", task=Task.TEXT2IMG,
                        webhook_url=WEBHOOK))
    event(0, Status.PROVISIONING); event(1, Status.STARTED)
def end(**how):
    link.send(Ended(runpod_job_id="job-1", **how))
def wait():
    sys.stdin.buffer.read()
"""


FATAL = """
link.send(Ready())
link.send(Fatal(code=ErrorCode.MODEL_NOT_FOUND, detail="There is no such model."))
take(); event(2, Status.FAILED); end(succeeded=False, counts_as_failure=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
wait()
"""


@pytest.fixture
def supervised(
    start_worker: "Callable[..., Worker]", fresh_queue: "RunpodQueue", tmp_path: Path
) -> "Callable[..., Worker]":
    """Start the supervisor over a serving process that runs some code."""

    def start(code: str, *, before: str = "", **environ: str) -> "Worker":
        head = f"TASK_ID = {TASK_ID!r}\nWEBHOOK = {fresh_queue.webhook_url!r}\n"
        script = tmp_path / "serve.py"
        script.write_text(head + PRELUDE + textwrap.dedent(code))
        run = f"sys.exit(main([sys.executable, {str(script)!r}]))"
        start_it = f"import sys; from visgate_worker.__main__ import main\n{before}\n{run}"
        return start_worker(fresh_queue.environment(tmp_path) | environ, command=("-c", start_it))

    return start


def failure(queue: "RunpodQueue") -> JobResult:
    body: dict[str, Any] = queue.result("job-1")
    result = JobResult.from_runpod({"status": "FAILED", **body})
    assert result is not None
    assert result.error is not None
    return result


def is_running(pid: str) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty once it has ended and waits to be collected
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("action", "method"), [("none", None), ("scale_to_zero", "PATCH"), ("delete", "DELETE")])
def test_an_idle_worker_ends_and_the_policy_is_carried_out(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", action: str, method: str | None
) -> None:
    worker = supervised("serve(); wait()", VISGATE_IDLE_TIMEOUT_S="0.2", VISGATE_WATCHDOG_ACTION=action)
    assert worker.wait() == 0
    assert "There was no job for 0.2 s" in worker.output()
    assert [request.method for request in fresh_queue.control] == ([method] if method else [])


@pytest.mark.parametrize(("seconds", "stop"), [(1, False), (600, True)], ids=["its time is over", "told to stop"])
def test_a_warm_up_ends_with_the_endpoint_as_it_was(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", seconds: int, stop: bool
) -> None:
    keep = f"serve(); link.send(KeepWarm(warm_for_s={seconds}, idle_timeout_s=60)); take(); end(succeeded=True,"
    worker = supervised(f"{keep} counts_as_failure=False); wait()", VISGATE_IDLE_TIMEOUT_S="0.5")
    if stop:
        fresh_queue.until_status(TASK_ID, "started")  # so the supervisor has read what came before
        worker.process.send_signal(signal.SIGTERM)
    fresh_queue.server.until(lambda _: bool(fresh_queue.control), 30)
    (request,) = fresh_queue.control
    assert (request.method, request.json()) == ("PATCH", {"workers": {"idleTimeout": 60}})
    assert worker.wait() == 0


def test_the_last_of_two_warm_ups_counts(supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue") -> None:
    keep = """
        serve()
        link.send(KeepWarm(warm_for_s=600, idle_timeout_s=60))
        link.send(KeepWarm(warm_for_s=1, idle_timeout_s=90))
        wait()
    """
    worker = supervised(keep, VISGATE_IDLE_TIMEOUT_S="0.5")
    assert worker.wait() == 0
    assert [request.json() for request in fresh_queue.control] == [{"workers": {"idleTimeout": 90}}]


def test_a_hung_job_is_told_to_receiver_and_runpod_and_nothing_survives(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    hang = """
        serve(); take()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        helper = subprocess.Popen(["sleep", "600"])
        print("pids", os.getpid(), helper.pid, flush=True)
        while True:
            link.send(Beat()); time.sleep(0.1)
    """
    worker = supervised(hang, VISGATE_HANG_TIMEOUT_S="1", VISGATE_WATCHDOG_ACTION="delete")
    assert worker.wait() == 1
    result = failure(fresh_queue)
    assert result.error is not None
    assert result.error.code is ErrorCode.WORKER_FATAL
    assert "within 1 s" in result.error.detail
    assert fresh_queue.statuses(TASK_ID) == ["provisioning", "started", "failed"]
    assert [event.data.sequence for event in result.events] == [2]
    assert [request.method for request in fresh_queue.control] == ["DELETE"]
    pids = next(line for line in worker.output().splitlines() if line.startswith("pids")).split()[1:]
    assert [pid for pid in pids if is_running(pid)] == []


@pytest.mark.parametrize(
    ("end", "words"), [("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"), ("sys.exit(7)", "status 7")]
)
def test_a_death_in_a_job_is_told_after_all_that_was_said_before(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", end: str, words: str
) -> None:
    worker = supervised(f"serve(); take(); print('last words', flush=True); {end}")
    assert worker.wait() == 1
    result = failure(fresh_queue)
    assert result.error is not None
    assert words in result.error.detail
    assert fresh_queue.statuses(TASK_ID) == ["provisioning", "started", "failed"]
    assert "last words" in worker.output()
    assert "last words" in result.error.log_tail
    assert fresh_queue.events[-1].json()["data"]["error"]["log_tail"] == list(result.error.log_tail)


def test_failures_in_a_row_end_the_worker_but_let_the_last_result_out(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    fail_twice = """
        serve()
        def stop(*_):
            print("result was posted", flush=True); sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        for _ in range(2):
            take(); end(succeeded=False, counts_as_failure=True)
        wait()
    """
    worker = supervised(fail_twice, VISGATE_MAX_FAILURES="2", VISGATE_WATCHDOG_ACTION="scale_to_zero")
    assert worker.wait() == 1
    assert "2 jobs in a row have failed" in worker.output()
    assert "result was posted" in worker.output()
    assert [request.method for request in fresh_queue.control] == ["PATCH"]


def test_a_fatal_error_acts_once_its_job_was_told(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    worker = supervised(FATAL, VISGATE_WATCHDOG_ACTION="scale_to_zero")
    assert worker.wait() == 1
    assert "There is no such model." in worker.output()
    assert fresh_queue.statuses(TASK_ID) == ["provisioning", "started", "failed"]
    assert [request.method for request in fresh_queue.control] == ["PATCH"]


def test_being_told_to_stop_lets_the_running_job_end_and_is_no_failure(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    finish = """
        def stop(*_):
            event(2, Status.READY); end(succeeded=True, counts_as_failure=False); sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        serve(); take(); wait()
    """
    worker = supervised(finish, VISGATE_WATCHDOG_ACTION="delete")
    fresh_queue.until_status(TASK_ID, "started")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert fresh_queue.statuses(TASK_ID) == ["provisioning", "started", "ready"]
    assert fresh_queue.control == []


def test_a_job_that_outlasts_the_grace_fails_with_the_reason(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    worker = supervised("signal.signal(signal.SIGTERM, signal.SIG_IGN); serve(); take(); wait()",
                        VISGATE_SHUTDOWN_GRACE_S="0.3")  # fmt: skip
    fresh_queue.until_status(TASK_ID, "started")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert fresh_queue.statuses(TASK_ID)[-1] == "failed"
    result = failure(fresh_queue)
    assert result.error is not None
    assert "told to stop" in result.error.detail


def test_without_its_supervisor_the_serving_process_ends(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    code = """
        import threading
        from visgate_worker import serve as serving
        threading.Thread(target=serving._hear, args=(Answers(),), daemon=True).start()
        helper = subprocess.Popen(["sleep", "600"])
        serve(); take(); time.sleep(600)
    """
    worker = supervised(code)
    fresh_queue.until_status(TASK_ID, "started")
    pid = worker.serving_pid()
    fd = os.pidfd_open(pid)
    worker.process.kill()
    worker.wait()

    assert select.select([fd], [], [], 20)[0] == [fd]
    os.close(fd)


def test_a_wrong_environment_is_one_clear_line(
    start_worker: "Callable[..., Worker]", fresh_queue: "RunpodQueue", tmp_path: Path
) -> None:
    environ = fresh_queue.environment(tmp_path) | {"VISGATE_MODEL_ID": "", "VISGATE_IDLE_TIMEOUT_S": "soon"}
    worker = start_worker(environ)
    assert worker.wait() == 1
    assert "VISGATE_MODEL_ID is missing" in worker.output()
    assert "VISGATE_IDLE_TIMEOUT_S should be a valid number" in worker.output()
    assert "Traceback" not in worker.output()


def test_a_wrong_environment_stops_its_endpoint(
    start_worker: "Callable[..., Worker]", fresh_queue: "RunpodQueue", tmp_path: Path
) -> None:
    wrong = {"VISGATE_MAX_FAILURES": "few", "VISGATE_WATCHDOG_ACTION": "scale_to_zero"}
    worker = start_worker(fresh_queue.environment(tmp_path) | wrong)
    assert worker.wait() == 1
    assert [request.json() for request in fresh_queue.control] == [{"workers": {"min": 0, "max": 0}}]


@pytest.mark.parametrize(
    ("code", "is_left"), [("serve(); sys.exit(3)", True), ("serve(); wait()", True), (FATAL, False)]
)
def test_an_endpoint_whose_other_workers_are_at_work_is_left_alone_unless_all_will_fail(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", code: str, is_left: bool
) -> None:
    fresh_queue.workers.append({"id": "worker2", "status": "RUNNING"})
    worker = supervised(code, VISGATE_IDLE_TIMEOUT_S="0.2", VISGATE_WATCHDOG_ACTION="scale_to_zero")
    worker.wait()
    assert (fresh_queue.control == []) == is_left, worker.output()


def test_the_policy_is_tried_until_runpod_confirms_it(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", answer_of: "Callable[..., Any]"
) -> None:
    answers = [answer_of(status=500), answer_of(body=b'{"workers": {"min": 0, "max": 3}}')]
    confirmed = fresh_queue.confirm
    fresh_queue.confirm = lambda request: answers.pop(0) if answers else confirmed(request)
    worker = supervised("serve(); wait()", VISGATE_IDLE_TIMEOUT_S="0.2", VISGATE_WATCHDOG_ACTION="scale_to_zero")
    assert worker.wait() == 0
    assert [request.method for request in fresh_queue.control] == ["PATCH"] * 3


def test_a_policy_that_cannot_be_carried_out_does_not_keep_a_worker_that_is_told_to_stop(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue", answer_of: "Callable[..., Any]"
) -> None:
    fresh_queue.confirm = lambda _: answer_of(status=500)
    worker = supervised("serve(); wait()", VISGATE_IDLE_TIMEOUT_S="0.2", VISGATE_WATCHDOG_ACTION="delete")
    fresh_queue.server.until(lambda _: bool(fresh_queue.control), 30)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_a_full_disk_ends_the_worker_with_the_reason(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    full = "import shutil; from types import SimpleNamespace as Found; shutil.disk_usage = lambda _: Found(free=0)"
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); serve(); take(); wait()"
    worker = supervised(code, before=full, VISGATE_WATCHDOG_ACTION="scale_to_zero")
    assert worker.wait() == 1
    assert "disk is full" in worker.output()
    assert [request.method for request in fresh_queue.control] == ["PATCH"]


def test_what_the_serving_process_prints_is_masked_on_both_streams(
    supervised: "Callable[..., Worker]", fresh_queue: "RunpodQueue"
) -> None:
    code = """
        secret = os.environ["MY_SECRET"]
        print("out", secret); print("err", secret, file=sys.stderr)
        os.write(2, b"raw " + secret.encode() + b"\\n")
        raise SystemExit(f"bye {secret}")
    """
    worker = supervised(code, MY_SECRET="canary-in-both-streams")
    worker.wait()
    for words in ("out [masked]", "err [masked]", "raw [masked]", "bye [masked]"):
        assert words in worker.output()
    assert "canary" not in worker.output()
