import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event, EventData, EventError, LoadReport, Progress, Status, Timings
from visgate_contract.jobs import JobError, JobProgress, JobResult
from visgate_contract.tasks import Task

TASK_ID = "task_" + "0" * 26
ERROR = JobError(code=ErrorCode.GENERATION_FAILED, detail="It broke.", hint="Try again.")


def event(sequence: int, status: Status, **more: Any) -> Event:
    data = EventData(task_id=TASK_ID, sequence=sequence, status=status, model_id="m", task=Task.TEXT2IMG, **more)
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


EVENTS = (
    event(1, Status.STARTED),
    event(2, Status.PROGRESS, progress=Progress(step=1, steps=4)),
    event(3, Status.FAILED, error=EventError.model_validate(ERROR.model_dump())),
)
FAILED = JobResult(task_id=TASK_ID, error=ERROR, events=EVENTS, timings=Timings(load_s=1.5))
READY = JobResult(task_id=TASK_ID, load=LoadReport(source="volume", size_bytes=1, seconds=2), events=EVENTS[:2])


def through_sdk(result: JobResult) -> dict[str, Any]:
    """What Runpod's status body holds, after the SDK has taken `error` out of the handler's answer."""
    output = json.loads(json.dumps(result.to_runpod()))
    error = output.pop("error", None)
    body = {"id": "job-1", "status": "FAILED" if error else "COMPLETED", "output": output}
    return body | ({"error": error} if error else {})


@pytest.mark.parametrize("result", [FAILED, READY])
def test_a_result_comes_back_whole(result: JobResult) -> None:
    assert JobResult.from_runpod(through_sdk(result)) == result
    assert JobProgress.from_runpod(through_sdk(result)).events == result.events


def test_a_failures_error_is_a_string_that_suffices_without_the_output() -> None:
    body = through_sdk(FAILED)
    assert isinstance(body["error"], str)
    del body["output"]
    alone = JobResult.from_runpod(body)
    assert alone is not None
    assert alone.error == ERROR
    assert alone.task_id == TASK_ID
    assert [one.data.status for one in alone.events] == [Status.FAILED]


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS", "RUNNING"])
def test_a_job_on_its_way_has_events_and_no_result(status: str) -> None:
    output = JobProgress(events=EVENTS[:2]).model_dump(mode="json")
    body = {"status": status, "output": output}
    assert JobResult.from_runpod(body) is None
    assert JobProgress.from_runpod(body).events == EVENTS[:2]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("TIMED_OUT", ErrorCode.DEADLINE_EXCEEDED),
        ("CANCELLED", ErrorCode.CANCELLED),
        ("FAILED", ErrorCode.WORKER_FATAL),
        ("COMPLETED", ErrorCode.WORKER_FATAL),
    ],
)
def test_an_end_without_our_result_is_an_error_that_keeps_the_events(status: str, code: ErrorCode) -> None:
    output = JobProgress(events=EVENTS[:2]).model_dump(mode="json")
    result = JobResult.from_runpod({"status": status, "output": output})
    assert result is not None
    assert result.error is not None
    assert result.error.code is code
    assert result.events == EVENTS[:2]
    assert result.task_id == TASK_ID


def test_an_exception_caught_by_the_sdk_loses_its_traceback_and_its_secrets() -> None:
    told = {
        "error_type": "<class 'ValueError'>",
        "error_message": "bad key rpa_ABCDEFGHIJKLMNOPQRST",
        "error_traceback": "Traceback (most recent call last): ...",
    }
    result = JobResult.from_runpod({"status": "FAILED", "error": json.dumps(told)})
    assert result is not None
    assert result.error is not None
    assert "bad key [masked]" in result.error.detail
    assert "Traceback" not in result.error.detail


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]), anything, anything)
def test_whatever_runpod_holds_an_ended_job_has_a_result(status: str, output: Any, error: Any) -> None:
    result = JobResult.from_runpod({"status": status, "output": output, "error": error})
    assert result is not None
    assert result.error is not None
    assert len(result.error.detail) < 600
