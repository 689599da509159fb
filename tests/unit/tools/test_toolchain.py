"""The script as its users run it, on a machine of fake programs."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.tools.conftest import PULUMI_FILES, Machine


def wait_until_go_runs(machine: Machine) -> None:
    deadline = time.monotonic() + 20
    while not machine.go_calls():
        assert time.monotonic() < deadline, "go was never started"
        time.sleep(0.02)


def test_tools_on_path_are_used_as_they_are(machine: Machine) -> None:
    machine.install("3.259.0", *PULUMI_FILES)
    machine.install("1.8.0", "versitygw")
    machine.install_go()

    finished = machine.run("ensure")

    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert machine.run("path").stdout == "\n"
    assert machine.go_calls() == []


def test_the_minimum_version_is_new_enough(machine: Machine) -> None:
    machine.install("3.254.0", *PULUMI_FILES)

    assert machine.run("ensure", "pulumi", VISGATE_TOOLCHAIN="path").returncode == 0


def test_an_older_version_is_refused_by_name(machine: Machine) -> None:
    machine.install("3.253.99", *PULUMI_FILES)

    finished = machine.run("ensure", "pulumi", VISGATE_TOOLCHAIN="path")

    assert finished.returncode == 2
    assert "is version 3.253.99, older than 3.254.0" in finished.stderr


def test_an_older_version_on_path_makes_room_for_a_built_one(machine: Machine) -> None:
    machine.install("3.100.0", *PULUMI_FILES)
    machine.install_go()

    assert machine.run("ensure", "pulumi").returncode == 0

    (folder,) = machine.folders("pulumi")
    assert folder.is_relative_to(machine.cache)


@pytest.mark.parametrize("missing", PULUMI_FILES[1:])
def test_an_engine_without_its_language_host_is_refused(machine: Machine, missing: str) -> None:
    machine.install("3.259.0", *(name for name in PULUMI_FILES if name != missing))

    finished = machine.run("ensure", "pulumi", VISGATE_TOOLCHAIN="path")

    assert finished.returncode == 2
    assert f"has no {missing} beside it or on PATH" in finished.stderr


def test_a_language_host_beside_a_linked_engine_is_found(machine: Machine) -> None:
    elsewhere = machine.root / "elsewhere"
    machine.install("3.259.0", *PULUMI_FILES, folder=elsewhere)
    (machine.bin / "pulumi").symlink_to(elsewhere / "pulumi")

    assert machine.run("ensure", "pulumi").returncode == 0
    assert machine.folders("pulumi") == [elsewhere]


def test_an_engine_that_does_not_run_is_refused(machine: Machine) -> None:
    machine.install("3.259.0", *PULUMI_FILES)
    (machine.bin / "pulumi").write_text("#!/bin/sh\nexit 3\n")

    finished = machine.run("ensure", "pulumi", VISGATE_TOOLCHAIN="path")

    assert finished.returncode == 2
    assert "does not run (exit status 3)" in finished.stderr


def test_a_large_program_is_asked_for_its_version_once(machine: Machine) -> None:
    machine.install("3.259.0", *PULUMI_FILES, padding=1_100_000)

    for _ in range(3):
        assert machine.run("path", "pulumi").returncode == 0
    assert machine.asked() == ["pulumi"]

    machine.install("3.1.0", "pulumi", padding=1_100_001)
    assert machine.run("path", "pulumi").returncode == 2
    assert machine.asked() == ["pulumi", "pulumi"]


def test_a_shim_is_asked_each_time(machine: Machine) -> None:
    machine.install("3.259.0", *PULUMI_FILES)

    machine.run("path", "pulumi")
    machine.run("path", "pulumi")

    assert machine.asked() == ["pulumi", "pulumi"]


def test_a_build_leaves_four_programs_and_is_done_once(machine: Machine) -> None:
    machine.install_go()

    assert machine.run("ensure", "pulumi").returncode == 0
    assert machine.run("ensure", "pulumi").stderr == ""

    (folder,) = machine.folders("pulumi")
    assert {path.name for path in folder.iterdir() if os.access(path, os.X_OK)} == set(PULUMI_FILES)
    assert machine.built() == ["pulumi", "pulumi-language-python"]


def test_both_tools_come_by_default(machine: Machine) -> None:
    machine.install_go()

    assert machine.run("ensure").returncode == 0
    assert [(folder / name).is_file() for folder, name in zip(machine.folders(), ("pulumi", "versitygw"), strict=True)]


def test_go_builds_for_this_machine_from_the_committed_sums(machine: Machine) -> None:
    machine.install_go()

    machine.run("ensure", "s3", GOOS="plan9", GOARCH="mips", GOWORK="elsewhere", GOFLAGS="-mod=vendor -x")

    (call,) = machine.go_calls()
    assert call["args"][:2] == ["build", "-mod=readonly"]
    assert Path(call["cwd"]).joinpath("go.sum").is_file()
    assert (call["env"]["CGO_ENABLED"], call["env"]["GOWORK"]) == ("0", "off")
    assert call["env"]["GOFLAGS"] == "-mod=vendor -x"
    assert call["env"].keys().isdisjoint({"GOOS", "GOARCH"})


def test_a_failed_build_says_why_and_leaves_nothing(machine: Machine) -> None:
    machine.install_go()

    finished = machine.run("ensure", "s3", FAKE_GO_FAILS="no space left on device")

    assert finished.returncode == 2
    assert "go build failed for versitygw: no space left on device" in finished.stderr.splitlines()[-1]
    assert machine.entries() == []


def test_a_build_of_another_version_is_not_kept(machine: Machine) -> None:
    machine.install_go()

    finished = machine.run("ensure", "s3", FAKE_GO_STAMPS="v1.7.0")

    assert finished.returncode == 2
    assert "what was made is version 1.7.0 instead of v1.8.0" in finished.stderr
    assert machine.entries() == []


def test_a_build_that_lacks_a_program_is_not_kept(machine: Machine) -> None:
    machine.install_go()

    finished = machine.run("ensure", "s3", FAKE_GO_MAKES="nothing")

    assert finished.returncode == 2
    assert "what was made lacks versitygw" in finished.stderr
    assert machine.entries() == []


def test_a_module_without_the_script_is_an_error(machine: Machine) -> None:
    machine.install_go()
    (machine.root / "module" / "python" / "dist" / "pulumi-resource-pulumi-python").unlink()

    finished = machine.run("ensure", "pulumi")

    assert finished.returncode == 2
    assert "pulumi-resource-pulumi-python is not in the Go module" in finished.stderr
    assert machine.entries() == []


def test_without_any_way_one_sentence_names_all_that_is_missing(machine: Machine) -> None:
    finished = machine.run("ensure", "pulumi")

    last = finished.stderr.splitlines()[-1]
    assert finished.returncode == 2
    assert last.startswith("visgate: the Pulumi engine is missing (no pulumi is on PATH; ")
    assert "could not be downloaded" in last
    assert "no go is on PATH" in last
    assert "install the Pulumi CLI (3.254 or newer), or Go 1.26 or newer" in last


def test_path_installs_nothing(machine: Machine) -> None:
    machine.install_go()

    finished = machine.run("path", "s3")

    assert (finished.returncode, finished.stdout) == (2, "")
    assert "run `python3 tools/toolchain.py ensure s3`" in finished.stderr
    assert machine.go_calls() == []


@pytest.mark.parametrize(("way", "allowed"), [("path", False), ("download", False), ("build", True)])
def test_one_way_can_be_forced(machine: Machine, way: str, *, allowed: bool) -> None:
    machine.install_go()

    assert (machine.run("ensure", "s3", VISGATE_TOOLCHAIN=way).returncode == 0) is allowed
    assert bool(machine.go_calls()) is allowed


def test_forcing_the_build_passes_over_path(machine: Machine) -> None:
    machine.install("1.8.0", "versitygw")
    machine.install_go()

    assert machine.run("ensure", "s3", VISGATE_TOOLCHAIN="build").returncode == 0
    assert machine.built() == ["versitygw"]


def test_an_unknown_way_is_refused(machine: Machine) -> None:
    machine.install("1.8.0", "versitygw")

    finished = machine.run("ensure", "s3", VISGATE_TOOLCHAIN="magic")

    assert finished.returncode == 2
    assert "VISGATE_TOOLCHAIN is 'magic'" in finished.stderr


def test_a_damaged_tool_is_made_again(machine: Machine) -> None:
    machine.install_go()
    machine.run("ensure", "s3")
    (folder,) = machine.folders("s3")
    program = folder / "versitygw"
    whole = program.read_text()

    program.write_text(whole.replace("1", "2"))
    assert machine.run("path", "s3").returncode == 2
    assert machine.run("ensure", "s3").returncode == 0

    assert program.read_text() == whole
    assert machine.entries() == [folder.name]


def test_a_copied_cache_is_still_good(machine: Machine) -> None:
    machine.install_go()
    machine.run("ensure", "s3")
    (folder,) = machine.folders("s3")

    marker = folder / "visgate-tool.json"

    os.utime(folder / "versitygw", (1, 1))
    assert machine.run("ensure", "s3").returncode == 0
    noted = marker.stat().st_mtime_ns
    assert machine.run("ensure", "s3").returncode == 0

    assert machine.built() == ["versitygw"]
    assert marker.stat().st_mtime_ns == noted, "the digests are read again on each run"


def test_two_runs_at_once_build_once(machine: Machine) -> None:
    machine.install_go()
    first = machine.start("ensure", "s3", FAKE_GO_SLEEPS="1")
    wait_until_go_runs(machine)

    second = machine.run("ensure", "s3")

    assert "waiting for another run" in second.stderr
    with first:
        first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert machine.built() == ["versitygw"]


def test_what_a_killed_run_leaves_is_never_taken_for_a_tool(machine: Machine) -> None:
    machine.install_go()
    with machine.start("ensure", "s3", FAKE_GO_SLEEPS="2") as killed:
        wait_until_go_runs(machine)
        killed.kill()

    assert ".partial-" in machine.entries()[0]
    assert machine.run("path", "s3").returncode == 2
    assert machine.run("ensure", "s3").returncode == 0
    (folder,) = machine.folders("s3")
    assert machine.entries() == [folder.name]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_ends_go_and_leaves_nothing(machine: Machine, number: signal.Signals, status: int) -> None:
    machine.install_go()
    started = time.monotonic()
    with machine.start("ensure", "s3", FAKE_GO_SLEEPS="50") as stopped:
        wait_until_go_runs(machine)
        stopped.send_signal(number)
        stopped.communicate(timeout=20)

    assert stopped.returncode == status
    assert machine.entries() == []
    assert time.monotonic() - started < 20


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.install_go()
    in_the_way = machine.root / "file"
    in_the_way.touch()

    finished = machine.run("ensure", "s3", VISGATE_CACHE_DIR=str(in_the_way))

    assert finished.returncode == 2
    assert finished.stderr.endswith("cannot be written (Not a directory): set VISGATE_CACHE_DIR to another one.\n")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"VISGATE_CACHE_DIR": "{root}/own"}, "own/tools"),
        ({"VISGATE_CACHE_DIR": "", "XDG_CACHE_HOME": "{root}/xdg"}, "xdg/visgate/tools"),
        ({"VISGATE_CACHE_DIR": ""}, "home/.cache/visgate/tools"),
    ],
)
def test_the_cache_is_where_the_environment_says(machine: Machine, variables: dict[str, str], expected: str) -> None:
    machine.install_go()
    filled = {name: value.format(root=machine.root) for name, value in variables.items()}

    assert machine.run("ensure", "s3", **filled).returncode == 0
    assert any((machine.root / expected).glob("s3-v1.8.0-*-build-*/versitygw"))


def test_the_yaml_host_beside_a_linked_engine_counts_as_on_path(machine: Machine) -> None:
    elsewhere = machine.root / "elsewhere"
    machine.install("3.259.0", *PULUMI_FILES, "pulumi-language-yaml", folder=elsewhere)
    (machine.bin / "pulumi").symlink_to(elsewhere / "pulumi")

    assert machine.run("ensure", "pulumi", "yaml", VISGATE_TOOLCHAIN="path").returncode == 0
    assert machine.run("ensure", "yaml", VISGATE_TOOLCHAIN="path").returncode == 2


def test_a_tool_that_does_not_exist_is_a_usage_error(machine: Machine) -> None:
    finished = machine.run("ensure", "nonsense")

    assert finished.returncode == 2
    assert "'nonsense' is not one of pulumi, s3, yaml" in finished.stderr
