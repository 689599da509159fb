"""`visgate bench worker`: a report of phases."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pulumi_visgate.cli.bench import Run, report
from visgate_contract.events import EventData, Fallback, LoadReport, RuntimeReport, Status, Timings
from visgate_contract.tasks import Task

Visgate = Callable[..., int]
MEMORY = LoadReport(source="memory", size_bytes=24_000_000_000, seconds=0)


def ended(timings: Timings, *, load: LoadReport = MEMORY, peak: int = 30_000_000_000) -> EventData:
    fallback = Fallback(runtime="compiled", reason="no kernel")
    runtime = RuntimeReport(name="eager", device="H100", family="flux", peak_memory_bytes=peak, fallbacks=(fallback,))
    about: dict[str, Any] = {"task_id": "task_" + "0" * 26, "sequence": 5, "model_id": "m/x", "task": Task.TEXT2IMG}
    return EventData(**about, status=Status.READY, timings=timings, load=load, runtime=runtime)


def test_the_first_job_is_told_apart_from_those_after_it() -> None:
    cold = Timings(framework_import_s=5.0, load_s=8.0, generate_s=3.0, step_s=0.1, ttft_s=16.5, total_s=17.0)
    loaded = LoadReport(source="s3", size_bytes=24_000_000_000, seconds=8, fetched_bytes=9_000_000_000, fetch_s=6.5)
    warm = [Timings(generate_s=seconds, step_s=0.1, total_s=seconds + 0.5) for seconds in (2.0, 4.0, 3.0)]
    found = report([Run(ended(cold, load=loaded, peak=31_000_000_000), 40.0), *(Run(ended(one), 5.0) for one in warm)])
    assert found["jobs"] == 4
    assert found["phases"] == {
        "framework_import": {"first": 5.0},
        "load": {"first": 8.0},
        "generate": {"first": 3.0, "median": 3.0, "slowest": 4.0},
        "step": {"first": 0.1, "median": 0.1, "slowest": 0.1},
        "ttft": {"first": 16.5},
        "total": {"first": 17.0, "median": 3.5, "slowest": 4.5},
        "answered": {"first": 40.0, "median": 5.0, "slowest": 5.0},
    }
    assert found["about"] == {
        "model": "m/x",
        "family": "flux",
        "device": "H100",
        "runtime": "eager",
        "fallbacks": ["compiled: no kernel"],
        "peak_memory_bytes": 31_000_000_000,
        "source": "s3",
        "size_bytes": 24_000_000_000,
        "load_bytes_per_s": 3_000_000_000,
        "fetched_bytes": 9_000_000_000,
        "fetch_s": 6.5,
    }


def test_jobs_are_run_one_after_the_other_and_reported(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ended(Timings(generate_s=1.25, total_s=1.5))
    last = good_gateway.events[-1]
    good_gateway.events[-1] = last.model_copy(
        update={"data": last.data.model_copy(update={"timings": data.timings, "runtime": data.runtime, "load": MEMORY})}
    )
    command = ["bench", "worker", "--gateway", good_gateway.url, "--model", "m/x", "--jobs", "2", "--steps", "4"]
    assert visgate(*command) == 0
    shown = capsys.readouterr()
    assert "m/x · flux · H100 · eager" in shown.out
    assert "model: 24,000 MB from memory" in shown.out
    assert "not used: compiled: no kernel" in shown.out
    assert "generate" in shown.out
    assert "1.250" in shown.out
    assert "job 2 of 2: " in shown.err
    sent = [json.loads(body)["input"] for method, path, _, body in good_gateway.requests if path == "/v1/jobs"]
    assert sent == [{"prompt": "a red fox", "steps": 4, "seed": 0}, {"prompt": "a red fox", "steps": 4, "seed": 1}]
    assert visgate(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["phases"]["generate"] == {"first": 1.25, "median": 1.25, "slowest": 1.25}


def test_a_failed_job_ends_it_and_says_why(
    visgate: Visgate, failing_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("bench", "worker", "--gateway", failing_gateway.url, "--model", "m/x") == 1
    assert "The GPU is out of memory." in capsys.readouterr().err


def test_a_task_that_begins_from_a_picture_is_refused(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "worker", "--gateway", good_gateway.url, "--model", "m/x", "--task", "image2img"]
    assert visgate(*command) == 1
    assert "begins from a picture" in capsys.readouterr().err
    assert good_gateway.requests == []
