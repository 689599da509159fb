"""The benchmark that needs a GPU, with a tiny model on the CPU: it has to work on the day that there is one."""

import io
import sys

import pytest
from rich.console import Console

from bench import gpu_bench


def test_it_measures_a_runtime_beside_the_eager_pipeline() -> None:
    """Runs a process that builds and one that measures, as on a GPU: some twenty seconds."""
    (figures,) = gpu_bench.run(["flux"], ["cached"], tiny=True)
    assert (figures["model"], figures["device"], figures["began_with"]) == ("flux", "cpu", "eager")
    assert figures["runtime"] == "cached-first-block", figures["fallbacks"]
    assert figures["psnr_db"] >= 20
    for phase in ("import_s", "load_s", "first_s", "eager_s", "warm_up_s", "first_after_s", "seconds", "step_s"):
        assert figures[phase] > 0, phase
    assert figures["until_picture_s"] > figures["import_s"] + figures["first_s"]
    text = io.StringIO()
    Console(file=text, width=200).print(gpu_bench.show([figures]))
    assert "cached-first-block" in text.getvalue()


def test_every_case_is_a_model_that_can_be_built_and_asked_for() -> None:
    from pydantic import TypeAdapter

    from visgate_contract.tasks import TaskInput

    for case in gpu_bench.CASES:
        for request in (case.real, case.tiny):
            assert TypeAdapter(TaskInput).validate_python(request)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_bench"])
    monkeypatch.setattr(gpu_bench, "_has_gpu", lambda: False)
    assert gpu_bench.main() == 1
    assert "no GPU here" in capsys.readouterr().err


def test_a_process_that_fails_is_an_error_that_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such model"):
        gpu_bench._python("-c", "raise SystemExit('no such model')")
