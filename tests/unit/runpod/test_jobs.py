"""The job API: what each operation sends and how its answer reads."""

import json
from typing import Any

import httpx
import pytest

from pulumi_visgate import runpod
from pulumi_visgate.runpod import RetryPolicy
from pulumi_visgate.runpod.models.job import JobPolicy, JobRequest, JobState

JOB = JobRequest(input={"prompt": "p"}, webhook="https://example.com/hook", policy=JobPolicy(ttl=60_000))
STATUS = {
    "id": "j",
    "status": "FAILED",
    "error": "boom",
    "delayTime": 31,
    "executionTime": 1437,
    "retries": 2,
    "workerId": "w",
    "somethingNew": {},
}


@pytest.mark.parametrize(
    ("call", "line", "body"),
    [
        (("run_job", "ep", JOB), "POST /v2/ep/run", {"input": {"prompt": "p"}}),
        (("run_job_sync", "ep", JOB), "POST /v2/ep/runsync", {"input": {"prompt": "p"}}),
        (("job_status", "ep", "j"), "GET /v2/ep/status/j", None),
        (("cancel_job", "ep", "j"), "POST /v2/ep/cancel/j", None),
        (("retry_job", "ep", "j"), "POST /v2/ep/retry/j", None),
    ],
)
def test_jobs_are_reported_alike_by_every_operation(caller: Any, script: Any, call: Any, line: str, body: Any) -> None:
    answers = script(httpx.Response(200, json=STATUS))
    status = caller(answers, *call)
    request = answers.requests[0]
    assert f"{request.method} {request.url}" == line.replace(" ", " https://api.runpod.ai")
    if body is None:
        assert request.content == b""
    else:
        assert json.loads(request.content) == {
            **body,
            "webhook": "https://example.com/hook",
            "policy": {"ttl": 60_000},
        }
    assert (status.id, status.status, status.error, status.done) == ("j", JobState.FAILED, "boom", True)
    assert (status.delay_time, status.execution_time, status.retries, status.worker_id) == (31, 1437, 2, "w")


def test_a_stream_returns_its_parts(caller: Any, script: Any) -> None:
    parts = {"status": "IN_PROGRESS", "stream": [{"output": {"step": 1}, "metrics": {}}, {"output": "two"}]}
    stream = caller(script(httpx.Response(200, json=parts)), "stream_job", "ep", "j")
    assert [chunk.output for chunk in stream.stream] == [{"step": 1}, "two"]


def test_a_purged_queue_says_how_many_jobs_it_lost(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(200, json={"removed": 2, "status": "completed"}))
    assert caller(answers, "purge_queue", "ep").removed == 2
    assert (answers.requests[0].method, answers.requests[0].url.path) == ("POST", "/v2/ep/purge-queue")


def test_health_counts_jobs_and_workers(caller: Any, script: Any) -> None:
    counts = {"jobs": {"inQueue": 3, "inProgress": 1}, "workers": {"idle": 1, "running": 2, "throttled": 1}}
    health = caller(script(httpx.Response(200, json=counts)), "endpoint_health", "ep")
    assert (health.jobs.in_queue, health.jobs.in_progress, health.jobs.failed) == (3, 1, 0)
    assert (health.workers.idle, health.workers.running, health.workers.throttled) == (1, 2, 1)


@pytest.mark.parametrize(("operation", "sent"), [("cancel_job", 2), ("retry_job", 1)])
def test_only_what_can_be_done_twice_is_repeated(caller: Any, script: Any, operation: str, sent: int) -> None:
    answers = script(httpx.Response(500))
    with pytest.raises(runpod.ServerFault):
        caller(answers, operation, "ep", "j", retry=RetryPolicy(attempts=2))
    assert len(answers.requests) == sent


def test_a_purge_is_not_repeated_as_jobs_may_have_come_in_between(caller: Any, script: Any) -> None:
    answers = script(httpx.ReadTimeout("t"))
    with pytest.raises(runpod.DeadlineExceeded):
        caller(answers, "purge_queue", "ep")
    assert len(answers.requests) == 1
