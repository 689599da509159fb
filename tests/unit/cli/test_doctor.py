from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_visgate.cli import doctor
from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import ProcessRef
from pulumi_visgate.local.state import CloudState


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a machine that has every program."""
    (tmp_path / "Pulumi.yaml").touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in doctor.PROGRAMS:
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(doctor, "search_path", lambda _: str(programs))
    return tmp_path


def bad(project: Path) -> dict[str, tuple[str, str]]:
    return {finding.what: (finding.found, finding.fix) for finding in doctor.look({}, project) if not finding.good}


def test_a_complete_machine_is_fine(project: Path) -> None:
    assert bad(project) == {}
    assert doctor.examine({}, project) == 0


def test_a_missing_program_is_named_with_its_fix(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "bin" / "versitygw").unlink()
    assert bad(project) == {"versitygw": ("not found", "`make setup`")}
    assert doctor.examine({}, project) == 1
    assert "versitygw" in capsys.readouterr().out


def test_a_missing_toolchain_is_said_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        detail = "The engine is not there yet."
        raise LocalCloudError(detail, hint="`make setup`")

    monkeypatch.setattr(doctor, "search_path", missing)
    assert bad(project) == {"toolchain": ("The engine is not there yet.", "`make setup`")}


def test_a_missing_package_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISTRIBUTIONS", ("no-such-distribution",))
    assert "make setup" in bad(project)["no-such-distribution"][1]


def test_a_folder_outside_any_project_is_said(tmp_path: Path) -> None:
    assert list(bad(tmp_path)) == ["project"]


def test_a_dead_part_of_the_cloud_is_named(project: Path) -> None:
    home = Home(project / ".visgate")
    home.make()
    gone = ProcessRef(pid=2**22 + 1, started=1.0)
    ports = dict.fromkeys(("s3", "emulator", "host"), 9)
    CloudState(ports=ports, processes=dict.fromkeys(ports, gone)).save(home)
    found = bad(project)
    assert set(found) == {"local s3", "local emulator", "local host"}
    assert "visgate local up" in found["local s3"][1]


def test_the_command_has_the_verdict_as_its_status(
    visgate: Callable[..., int], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert visgate("doctor") == 0
    (project / "bin" / "pulumi").unlink()
    assert visgate("doctor") == 1
