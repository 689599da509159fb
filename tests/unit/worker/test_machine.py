import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from visgate_worker import machine
from visgate_worker.machine import MIN_FREE_BYTES, SURE, Machine
from visgate_worker.watchdog import Cause

ONE = "echo GPU-1111"
LOST = "echo Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost; exit 15"

Says = Callable[..., None]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """A driver's program that says one thing after the other, and the last one from then on."""

    def write(*answers: str) -> None:
        count = tmp_path / "count"
        cases = "".join(f"  {n}) {answer} ;;\n" for n, answer in enumerate(answers[:-1]))
        program = tmp_path / machine.GPU_PROGRAM
        script = f"n=$(cat {count} 2>/dev/null || echo 0); echo $((n + 1)) > {count}\ncase $n in\n"
        program.write_text(f"#!/bin/sh\n{script}{cases}  *) {answers[-1]} ;;\nesac\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return write


@pytest.mark.parametrize(
    ("answers", "words"), [((ONE, LOST), "GPU is lost"), (("echo GPU-1; echo GPU-2", ONE), "1 of 2 answer")]
)
async def test_a_gpu_that_was_there_and_is_not_any_more_is_lost(
    says: Says, answers: tuple[str, ...], words: str
) -> None:
    says(*answers)
    looking = Machine(gpu_interval_s=0.01)
    await looking.watch_gpu()
    verdict = looking.verdict()
    assert verdict is not None
    assert verdict.cause is Cause.GPU
    assert words in verdict.detail


async def test_a_driver_that_hangs_is_a_lost_gpu(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GPU_ANSWER_S", 0.2)
    says(ONE, "exec sleep 60")
    looking = Machine(gpu_interval_s=0.01)
    await looking.watch_gpu()
    assert "no answer" in str(looking.verdict())


async def test_one_bad_answer_is_not_believed(says: Says) -> None:
    assert SURE == 2
    says(ONE, LOST, ONE, LOST, "echo GPU-1; exit 3", LOST)
    looking = Machine(gpu_interval_s=0.01)
    await looking.watch_gpu()
    assert "GPU is lost" in str(looking.verdict()) or "GPU-1" in str(looking.verdict())


@pytest.mark.parametrize("first", ["echo no devices; exit 6", "true"])
async def test_where_there_is_no_gpu_none_is_watched(says: Says, first: str) -> None:
    says(first)
    looking = Machine(gpu_interval_s=0.01)
    await looking.watch_gpu()
    assert looking.verdict() is None


async def test_without_a_driver_none_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    looking = Machine()
    await looking.watch_gpu()
    assert looking.verdict() is None


@pytest.mark.parametrize(("free", "full"), [(MIN_FREE_BYTES, False), (MIN_FREE_BYTES - 1, True)])
def test_a_disk_without_room_for_a_file_is_full(monkeypatch: pytest.MonkeyPatch, free: int, full: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    verdict = Machine().verdict()
    assert (verdict is not None and verdict.cause is Cause.DISK) == full
