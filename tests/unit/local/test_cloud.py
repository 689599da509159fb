import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pulumi_visgate.local import cloud
from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import members
from pulumi_visgate.local.state import CloudState

# Every part is this small server, which answers its readiness path with 200.
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SECRET_DEATH = "import os, sys; sys.exit('no good: ' + os.environ['ROOT_SECRET_KEY'])"

Command = Callable[[str, Home, CloudState, Path], tuple[list[str], dict[str, str]]]


def serve(part: str, home: Home, state: CloudState, server: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-c", SERVER, str(state.ports[part])], {}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment without the toolchain, whose S3 server is only a name."""
    program = tmp_path / "versitygw"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(cloud, "search_path", lambda environ: environ["PATH"])
    monkeypatch.setattr(cloud, "_command", serve)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.fixture
def running(home: Home, environ: dict[str, str]) -> Iterator[cloud.UpReport]:
    yield cloud.up(home, environ=environ)
    cloud.down(home)


def test_up_starts_every_part_and_says_where(home: Home, running: cloud.UpReport) -> None:
    assert set(running.started) == set(cloud.PARTS)
    assert running.repaired == ()
    assert all(part.healthy for part in cloud.status(home))
    assert f"export RUNPOD_API_URL={running.state.url('emulator')}\n" in home.env_file.read_text()


def test_a_second_up_leaves_all_as_it_is(home: Home, running: cloud.UpReport, environ: dict[str, str]) -> None:
    again = cloud.up(home, environ=environ)
    assert again.started == ()
    assert again.state == running.state


def test_a_dead_part_alone_is_started_again(home: Home, running: cloud.UpReport, environ: dict[str, str]) -> None:
    running.state.processes["emulator"].stop()
    assert [part.name for part in cloud.status(home) if not part.healthy] == ["emulator"]
    again = cloud.up(home, environ=environ)
    assert (again.started, again.repaired) == (("emulator",), ("emulator",))
    assert again.state.processes["s3"] == running.state.processes["s3"]
    assert again.state.ports == running.state.ports


def test_a_part_that_cannot_start_is_said_without_its_secret_and_leaves_nothing(
    home: Home, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(part: str, home: Home, state: CloudState, server: Path) -> tuple[list[str], dict[str, str]]:
        if part == "emulator":
            secret = state.s3_secret_access_key.get_secret_value()
            return [sys.executable, "-c", SECRET_DEATH], {"ROOT_SECRET_KEY": secret}
        return serve(part, home, state, server)

    monkeypatch.setattr(cloud, "_command", command)
    with pytest.raises(LocalCloudError, match=r"Part emulator .* ended before it was ready") as caught:
        cloud.up(home, environ=environ)
    assert "no good: [masked]" in caught.value.detail
    assert members(home.root) == []
    state = CloudState.load(home)
    assert state is not None
    assert state.processes == {}


def test_a_part_that_is_never_ready_is_ended(
    home: Home, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "START_S", 0.5)
    deaf = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(cloud, "_command", lambda *_: (deaf, {}))
    with pytest.raises(LocalCloudError, match=r"was not ready after"):
        cloud.up(home, environ=environ)
    assert members(home.root) == []


def test_down_says_what_it_keeps_and_purge_deletes_it(home: Home, environ: dict[str, str]) -> None:
    cloud.up(home, environ=environ)
    (home.s3 / "bucket").mkdir()
    (home.s3 / "bucket" / "object").write_bytes(b"x" * 1000)
    report = cloud.down(home)
    assert set(report.stopped) == set(cloud.PARTS)
    assert ("buckets and network volumes", 1000) in [(kept.what, kept.size_bytes) for kept in report.kept]
    assert not home.env_file.exists()
    assert cloud.down(home).stopped == ()
    assert cloud.down(home, purge=True).kept == ()
    assert not home.root.exists()
    assert cloud.down(home).stopped == ()
    assert not home.root.exists()
    assert cloud.status(home) == []


def test_no_secret_is_in_a_command_line(tmp_path: Path, home: Home) -> None:
    state = CloudState(ports={part: 1 for part in cloud.PARTS})
    for part in cloud.PARTS:
        argv, _ = cloud._command(part, home, state, tmp_path / "versitygw")
        assert not any(secret in argument for argument in argv for secret in state.secrets())


def test_no_secret_is_in_the_report(running: cloud.UpReport) -> None:
    assert not any(secret in repr(running) for secret in running.state.secrets())
