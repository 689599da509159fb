"""A builder's output, end and children; `sh` stands for the builder."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pulumi_visgate.resources import _build_run
from pulumi_visgate.resources.errors import BuildFailed
from visgate_contract.redaction import Redactor

SECRET = "canary-of-a-registry"


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)

    note = status = warn


def run(script: str, log: Path, *, timeout_s: float = 30) -> list[str]:
    heard = Heard()
    command = ["sh", "-c", script]
    redactor = Redactor([SECRET])
    _build_run.run(command, doing="building acme/x", report=heard, redactor=redactor, log=log, timeout_s=timeout_s)
    return heard.said


def has_ended(pid: int, *, deadline_s: float = 20) -> bool:
    """Wait for the end of a process that somebody else has to reap."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_steps_of_either_builder_are_told_at_once(tmp_path: Path) -> None:
    said = run(
        "echo 'STEP 2/5: RUN pip install'; echo '[1/2] STEP 3/5: COPY a b'; echo '#8 [build 4/5] RUN x';"
        " echo '#9 [5/5] COPY y'",
        tmp_path / "log",
    )
    assert said == [
        "building acme/x 2/5: RUN pip install",
        "building acme/x 3/5: COPY a b",
        "building acme/x 4/5: RUN x",
        "building acme/x 5/5: COPY y",
    ]


def test_the_whole_output_is_kept_for_its_owner_alone_without_secrets_and_escapes(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    run(f"printf 'a\\033[1mb\\033[0m\\n10%%\\r90%%\\n'; echo password {SECRET} >&2", log)
    run("echo again", log)
    assert log.read_text() == "ab\n10%\n90%\npassword [masked]\nagain\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_failure_shows_the_end_of_the_output_and_where_all_of_it_is(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as failed:
        run(f"for n in $(seq 60); do echo line $n; done; echo {SECRET}; exit 3", tmp_path / "log")
    detail = failed.value.detail
    assert "Building acme/x failed with code 3" in detail
    assert "  line 60\n  [masked]\n" in detail
    assert "line 36\n" not in detail
    assert str(tmp_path / "log") in detail


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("OSError: [Errno 28] No space left on device", "Free disk space"),
        ("SSL: CERTIFICATE_VERIFY_FAILED", "`secrets`"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "never drop the hashes"),
        ("ERROR: No matching distribution found for torch==2.9", "for this platform"),
        ('short-name "python:3.12" did not resolve to an alias', "docker.io/library"),
        ("denied: requested access to the resource is denied", "`docker login`"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "builder='buildah'"),
        ("error running container: exec: while running runtime: exit status 1", "BUILDAH_ISOLATION=chroot"),
        ("something nobody has seen", ""),
    ],
)
def test_what_to_do_is_said_where_it_is_known(tmp_path: Path, line: str, fix: str) -> None:
    with pytest.raises(BuildFailed) as failed:
        run(f"cat <<'E'\n{line}\nE\nexit 1", tmp_path / "log")
    assert (fix in failed.value.hint) if fix else failed.value.hint == ""


@pytest.mark.parametrize("start", ["sleep 300", "(trap '' TERM; sleep 300)"])
def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, start: str) -> None:
    children = tmp_path / "children"
    with pytest.raises(BuildFailed, match=r"took longer than 1 s"):
        run(f"{start} & echo $! > {children}; echo waiting; wait", tmp_path / "log", timeout_s=1)
    assert has_ended(int(children.read_text()))


def test_a_program_that_ends_before_its_output_is_read_keeps_nobody_waiting(tmp_path: Path) -> None:
    assert run("true", tmp_path / "log") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_builder_ends_with_a_killed_provider_host(tmp_path: Path) -> None:
    child = tmp_path / "child"
    program = (
        "from pathlib import Path\n"
        "from pulumi_visgate.resources import _build_run\n"
        "from pulumi_visgate.resources._report import Silent\n"
        "from visgate_contract.redaction import Redactor\n"
        f"command = ['sh', '-c', 'echo $$ > {child}.part; mv {child}.part {child}; exec sleep 300']\n"
        "_build_run.run(command, doing='', report=Silent(), redactor=Redactor(),"
        f" log=Path('{tmp_path}/log'), timeout_s=300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as host:
        while not child.exists():
            assert host.poll() is None
            time.sleep(0.01)
        builder = int(child.read_text())
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
    assert has_ended(builder)
