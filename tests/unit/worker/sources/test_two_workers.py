"""Two processes fill one volume at the same time, and are killed in between."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker.sources.conftest import MODEL_ID, content, manifest_of, model_files
from visgate_contract.caches import MANIFEST_NAME, model_prefix
from visgate_worker.sources import fill, lease

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Request, Server

LIMIT_S = 60
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"

# A worker's search, with parts and waits so small that a test can watch them.
PROGRAM = """
import sys
from pathlib import Path
from visgate_worker.sources import hub, lease, partial, search
lease.FRESHENED_EVERY_S, lease.STALE_AFTER_S, lease.POLL_S = 0.05, float(sys.argv[3]), 0.02
partial.PART_BYTES = 4096
hub.Hub.download = lambda *_, **__: None
places = search.Places(volume=Path(sys.argv[1]), cache=Path(sys.argv[1]) / "cache", store_url=sys.argv[2])
found = search.find_model(places, "org/name")
print(found.source, found.fetched_bytes, flush=True)
"""


class Gate:
    """A store that stops in the middle of the weights until it is told to go on."""

    def __init__(self, files: dict[str, bytes], answer_of: Callable[..., Any]) -> None:
        prefix, manifest = model_prefix(MODEL_ID), manifest_of(files)
        self.files = {f"{prefix}rev1/{path}": data for path, data in files.items()}
        self.files[prefix + MANIFEST_NAME] = manifest.to_bytes()
        self.begun, self.open = threading.Event(), threading.Event()
        self.given = 0
        self._answer_of = answer_of
        self._lock = threading.Lock()

    def __call__(self, request: "Request") -> Any:
        key = request.path.lstrip("/")
        data = self.files.get(key)
        if data is None:
            return self._answer_of(status=404)
        if "range" not in request.headers:
            return self._answer_of(body=data)
        first, last = (int(number) for number in request.headers["range"].removeprefix("bytes=").split("-"))
        with self._lock:
            self.given += last + 1 - first
        if key.endswith(WEIGHTS) and first >= len(data) // 2:
            self.begun.set()
            self.open.wait(LIMIT_S)
        return self._answer_of(status=206, body=data[first : last + 1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(url: str, *, stale_after_s: float = 30) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), url, str(stale_after_s)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return out.split()


def whole(volume: Path, files: dict[str, bytes]) -> None:
    """Hold that the volume has the model, right, and nothing else."""
    root = volume / model_prefix(MODEL_ID)
    assert content(root / "rev1") == files
    assert (
        json.loads((root / MANIFEST_NAME).read_bytes())["files"][WEIGHTS]["sha256"]
        == hashlib.sha256(files[WEIGHTS]).hexdigest()
    )
    assert sorted(path.name for path in root.iterdir()) == [MANIFEST_NAME, "rev1"]


def test_the_second_worker_waits_and_finds_what_the_first_one_brought(
    tmp_path: Path, start: Callable[..., Any], make_server: "Callable[..., Server]", answer_of: Callable[..., Any]
) -> None:
    files = model_files(100_000)
    gate = Gate(files, answer_of)
    server = make_server(gate)
    first = start(server.url)
    assert gate.begun.wait(LIMIT_S)
    second = start(server.url)
    manifests = [request for request in server.until(lambda seen: sum("manifest" in one.path for one in seen) == 2)]
    assert manifests
    gate.open.set()
    size = sum(map(len, files.values()))
    assert [told(first), told(second)] == [["s3", str(size)], ["s3", "0"]]
    assert gate.given == size
    whole(tmp_path, files)


def test_a_killed_worker_leaves_nothing_that_looks_whole_and_another_goes_on_where_it_stopped(
    tmp_path: Path, start: Callable[..., Any], make_server: "Callable[..., Server]", answer_of: Callable[..., Any]
) -> None:
    files = model_files(100_000)
    gate = Gate(files, answer_of)
    server = make_server(gate)
    first = start(server.url)
    assert gate.begun.wait(LIMIT_S)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    root = tmp_path / model_prefix(MODEL_ID)
    assert (root / fill.LEASE).exists()
    assert not (root / MANIFEST_NAME).exists()
    assert not (root / "rev1" / WEIGHTS).exists()
    given = gate.given
    gate.open.set()
    told(start(server.url, stale_after_s=0.3))
    assert gate.given - given < sum(map(len, files.values()))
    whole(tmp_path, files)


def test_two_that_fill_at_once_because_a_lease_was_lost_do_no_harm(
    tmp_path: Path, start: Callable[..., Any], make_server: "Callable[..., Server]", answer_of: Callable[..., Any]
) -> None:
    files = model_files(100_000)
    gate = Gate(files, answer_of)
    server = make_server(gate)
    first = start(server.url)
    assert gate.begun.wait(LIMIT_S)
    (tmp_path / model_prefix(MODEL_ID) / fill.LEASE).unlink()
    second = start(server.url)
    server.until(lambda seen: sum("manifest" in one.path for one in seen) == 2)
    gate.open.set()
    for process in (first, second):
        told(process)
    whole(tmp_path, files)


def test_a_lease_that_is_kept_fresh_is_waited_for_and_a_stale_one_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_S", 0.01)
    path = tmp_path / "deep" / "lease"
    waits: list[int] = []

    def wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            os.utime(path, (0, 0))  # its holder was killed long ago

    with lease.lease(path):
        mark = path.read_text()
        with lease.lease(path, while_waiting=wait):
            assert path.read_text() != mark
        assert not path.exists()
    assert list(path.parent.iterdir()) == []
    assert len(waits) == 3
