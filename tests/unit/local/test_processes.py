import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import (
    CLOUD_ENV,
    ProcessRef,
    base_environment,
    end_all,
    free_port,
    members,
    spawn,
)

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
DETACHED = (
    "import subprocess, sys; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
)


def until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


def python(home: Home, code: str) -> ProcessRef:
    return spawn([sys.executable, "-c", code], base_environment(os.environ, home=home.root), home.log_file("t"))


def test_a_process_has_a_session_of_its_own_and_a_private_log(home: Home) -> None:
    process = python(home, "import time; print('hello', flush=True); time.sleep(60)")
    log = home.log_file("t")
    until(lambda: log.read_text() == "hello\n")
    assert os.getsid(process.pid) == process.pid
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert process.alive
    assert process.stop()
    assert not process.alive
    assert not process.stop()


def test_a_process_that_ignores_sigterm_is_killed(home: Home) -> None:
    process = python(home, STUBBORN)
    until(lambda: "deaf" in home.log_file("t").read_text())
    assert process.stop(grace_s=0.2)
    assert not process.alive


def test_its_group_ends_with_it(home: Home) -> None:
    process = python(home, PARENT)
    until(lambda: len(members(home.root)) == 2)
    process.stop()
    until(lambda: not members(home.root))


def test_a_pid_that_is_another_process_now_is_left_alone(home: Home) -> None:
    process = python(home, "import time; time.sleep(60)")
    stale = ProcessRef(pid=process.pid, started=process.started - 1000)
    assert not stale.alive
    assert not stale.stop()
    assert process.alive


def test_a_process_that_ended_by_itself_is_not_alive(home: Home) -> None:
    process = python(home, "raise SystemExit('gone')")
    until(lambda: not process.alive)
    assert "gone" in home.log_file("t").read_text()


def test_members_finds_what_left_the_group_and_end_all_ends_it(home: Home) -> None:
    starter = python(home, DETACHED)
    until(lambda: not starter.alive)
    (stray,) = members(home.root)
    assert end_all([stray]) == []
    assert not stray.is_running() or stray.status() == psutil.STATUS_ZOMBIE


def test_another_home_is_nobody_elses_business(home: Home, tmp_path: Path) -> None:
    python(home, "import time; time.sleep(60)")
    assert members(tmp_path / "other") == []


def test_a_program_that_is_missing_is_named(home: Home) -> None:
    with pytest.raises(LocalCloudError, match="/no/such/program") as caught:
        spawn(["/no/such/program"], {}, home.log_file("t"))
    assert "visgate doctor" in caught.value.hint


def test_the_callers_secrets_are_not_inherited(home: Home) -> None:
    environ = {"PATH": "/bin", "RUNPOD_API_KEY": "rpa_x", "HF_TOKEN": "hf_x", "AWS_SECRET_ACCESS_KEY": "x"}
    inherited = base_environment(environ, home=home.root)
    assert inherited["PATH"] == "/bin"
    assert inherited[CLOUD_ENV] == str(home.root.resolve())
    assert set(environ) & set(inherited) == {"PATH"}


def test_loopback_bypasses_a_proxy(home: Home) -> None:
    environ = {"https_proxy": "http://proxy:3128", "NO_PROXY": "intern"}
    assert base_environment(environ, home=home.root)["no_proxy"] == "intern,127.0.0.1,localhost"


def test_a_preferred_port_is_kept_while_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert free_port(port) != port


def test_a_large_log_makes_room(home: Home) -> None:
    log = home.log_file("t")
    log.write_text("x" * 2_000_000)
    process = python(home, "pass")
    until(lambda: not process.alive)
    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").stat().st_size == 2_000_000
