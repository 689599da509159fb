"""The real worker: both processes, the real SDK, the tiny model."""

import hashlib
import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from standardwebhooks import Webhook

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobProgress, JobResult

if TYPE_CHECKING:
    from tests.unit.worker.conftest import RunpodQueue, Worker

CANARIES = {
    "HF_TOKEN": "hf_CANARYcanaryCANARYcanary",
    "SERVICE_PASSWORD": "canary of a password",
}

POLICY = {"VISGATE_WATCHDOG_ACTION": "scale_to_zero", "VISGATE_SHUTDOWN_GRACE_S": "3"}


def task(letter: str) -> str:
    return "task_" + letter * 26


def result_of(body: dict[str, Any]) -> JobResult:
    status = "FAILED" if "error" in body else "COMPLETED"
    result = JobResult.from_runpod({"status": status, **body})
    assert result is not None
    return result


@pytest.fixture(scope="module")
def worker(
    runpod_queue: "RunpodQueue",
    tiny_volume: Path,
    worker_class: "type[Worker]",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Worker]":
    """One worker for all tests here; the last one kills it."""
    environ = runpod_queue.environment(tiny_volume) | CANARIES | POLICY
    started = worker_class(environ, tmp_path_factory.mktemp("worker") / "worker.log")
    yield started
    started.close()


def test_a_job_from_the_queue_becomes_a_picture_and_signed_events(
    worker: "Worker", runpod_queue: "RunpodQueue"
) -> None:
    runpod_queue.add("job-a", runpod_queue.job_input(task("a"), count=2))
    result = result_of(runpod_queue.result("job-a"))
    assert result.error is None, worker.output()
    assert result.load is not None
    assert result.load.source == "volume"
    assert result.timings is not None
    assert result.timings.framework_import_s is not None
    for artifact, n in zip(result.artifacts, range(2), strict=True):
        data = runpod_queue.objects[f"{task('a')}-{n}.png"]
        assert hashlib.sha256(data).hexdigest() == artifact.sha256
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 64))
    runpod_queue.until_status(task("a"), "ready")
    statuses = runpod_queue.statuses(task("a"))
    assert statuses[:2] == ["provisioning", "started"]
    assert set(statuses[2:-1]) == {"progress"}
    assert statuses[-1] == "ready"
    secret = runpod_queue.environment(Path())["VISGATE_WEBHOOK_SECRET"]
    for request in runpod_queue.events:
        Webhook(secret).verify(request.body.decode(), request.headers)
    assert JobProgress.model_validate(runpod_queue.progress["job-a"][-1]).events == result.events[:-1]


def test_the_next_job_finds_the_model_in_memory_and_the_same_seed_gives_the_same_bytes(
    worker: "Worker", runpod_queue: "RunpodQueue"
) -> None:
    for letter in "bc":
        runpod_queue.add(f"job-{letter}", runpod_queue.job_input(task(letter), seed=11))
    one, other = (result_of(runpod_queue.result(f"job-{letter}")) for letter in "bc")
    assert other.load is not None, worker.output()
    assert other.load.source == "memory"
    assert one.artifacts[0].sha256 == other.artifacts[0].sha256
    assert runpod_queue.objects[f"{task('b')}-0.png"] == runpod_queue.objects[f"{task('c')}-0.png"]


def test_a_cancelled_job_stops_and_the_worker_goes_on(worker: "Worker", runpod_queue: "RunpodQueue") -> None:
    runpod_queue.add("job-d", runpod_queue.job_input(task("d"), count=8, steps=150, width=512, height=512))
    runpod_queue.until_status(task("d"), "progress")
    runpod_queue.stop("job-d")
    runpod_queue.until_status(task("d"), "failed")
    failed = [request.json()["data"] for request in runpod_queue.events if request.json()["type"] == "job.failed"]
    assert failed[-1]["error"]["code"] == "cancelled"
    runpod_queue.add("job-e", runpod_queue.job_input(task("e")))
    assert result_of(runpod_queue.result("job-e")).error is None, worker.output()
    assert "job-d" not in runpod_queue.results


def test_a_dead_receiver_does_not_hold_up_the_job(worker: "Worker", runpod_queue: "RunpodQueue") -> None:
    wanted = runpod_queue.job_input(task("f")) | {"webhook_url": "http://127.0.0.1:1/webhook"}
    runpod_queue.add("job-f", wanted)
    result = result_of(runpod_queue.result("job-f"))
    assert result.error is None, worker.output()


def test_a_job_for_another_model_fails_with_a_reason_and_one_event(
    worker: "Worker", runpod_queue: "RunpodQueue"
) -> None:
    runpod_queue.add("job-g", runpod_queue.job_input(task("g")) | {"model_id": "other/model"})
    body = runpod_queue.result("job-g")
    assert isinstance(body["error"], str), worker.output()
    result = result_of(body)
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_REQUEST
    runpod_queue.until_status(task("g"), "failed")
    assert runpod_queue.statuses(task("g")).count("failed") == 1
    assert "Traceback" not in json.dumps(body)


def test_no_known_secret_is_in_output_events_or_results(
    worker: "Worker", runpod_queue: "RunpodQueue", tiny_volume: Path
) -> None:
    prompt = " ".join(CANARIES.values())
    runpod_queue.add("job-h", runpod_queue.job_input(task("h"), prompt=prompt, width=2048, height=72, steps=1))
    runpod_queue.result("job-h")
    environ = runpod_queue.environment(tiny_volume) | CANARIES
    secrets = {environ[name] for name in ("RUNPOD_API_KEY", "RUNPOD_AI_API_KEY", "VISGATE_WEBHOOK_SECRET", *CANARIES)}
    said = [worker.output(), json.dumps(runpod_queue.results)]
    said += [request.body.decode() + repr(request.headers) for request in runpod_queue.events]
    for text in said:
        assert not [secret for secret in secrets if secret in text]
        assert "ab" * 32 not in text


def test_the_endpoints_key_is_not_in_the_process_that_holds_the_model(
    worker: "Worker", runpod_queue: "RunpodQueue"
) -> None:
    environ = Path(f"/proc/{worker.serving_pid()}/environ").read_bytes()
    assert b"RUNPOD_AI_API_KEY" in environ
    assert b"RUNPOD_API_KEY" not in environ
    loaded = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert "torch" not in loaded


def test_a_killed_serving_process_ends_its_job_in_one_failed_event_and_status(
    worker: "Worker", runpod_queue: "RunpodQueue"
) -> None:
    runpod_queue.add("job-k", runpod_queue.job_input(task("k"), count=8, steps=150, width=512, height=512))
    runpod_queue.until_status(task("k"), "progress")
    serving = worker.serving_pid()
    os.kill(serving, signal.SIGKILL)
    assert worker.wait() == 1, worker.output()
    runpod_queue.until_status(task("k"), "failed")
    result = result_of(runpod_queue.result("job-k"))
    assert result.error is not None
    assert result.error.code is ErrorCode.WORKER_FATAL
    assert "signal 9" in result.error.detail
    ids = [request.headers["webhook-id"] for request in runpod_queue.events if task("k") in request.body.decode()]
    assert ids == sorted(set(ids))
    assert runpod_queue.control[-1].json() == {"workers": {"min": 0, "max": 0}}
    assert not Path(f"/proc/{serving}").exists()
