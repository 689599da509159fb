import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Visgate = Callable[..., int]


def test_a_file_that_cannot_be_written_is_one_message(
    visgate: Visgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VISGATE_HOME", str(tmp_path / "file" / "home"))
    assert visgate("local", "status") == 1
    shown = capsys.readouterr().err
    assert str(tmp_path / "file") in shown
    assert "Not a directory" in shown
    assert shown.count("\n") == 2


def test_the_version_is_told(visgate: Visgate, capsys: pytest.CaptureFixture[str]) -> None:
    assert visgate("--version") == 0
    assert capsys.readouterr().out.count(".") == 2


def test_unknown_commands_are_wrong_usage(visgate: Visgate) -> None:
    assert visgate("frobnicate") == 2


def test_generate_starts_without_the_heavy_half() -> None:
    heavy = "pulumi torch boto3 diffusers psutil uvicorn starlette"
    script = f"import sys, pulumi_visgate.cli; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
