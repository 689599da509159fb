"""Faults, crashes, restarts: what goes wrong in Runpod, on the way to it, and in the emulator itself."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.testing import EmulatorServer, RunpodEmulator, account_of

Create = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], Any]], Any]
Install = Callable[[str], None]

BODY: dict[str, Any] = {
    "name": "painter",
    "image": "example/worker:1",
    "type": "QUEUE",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
}
VOLUME = {"name": "v", "size": 10, "dataCenter": "EU-RO-1"}


def count(api: httpx.Client) -> int:
    return len(api.get("/v2/network-volumes").json()["networkVolumes"])


def test_an_injected_status_comes_instead_of_the_deed(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.fault("status", operation="createNetworkVolume", status=503, retry_after_s=7)
    refused = api.post("/v2/network-volumes", json=VOLUME)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert count(api) == 0
    assert api.post("/v2/network-volumes", json=VOLUME).status_code == 201


def test_a_reset_does_nothing_and_a_lost_answer_has_done_it(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    log = runpod_emulator.server.data / "emulator.log"
    logged = log.read_text()
    runpod_emulator.fault("reset", method="POST")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.post("/v2/network-volumes", json=VOLUME)
    assert count(api) == 0
    runpod_emulator.fault("lost_answer", path="/v2/network-*", method="POST")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.post("/v2/network-volumes", json=VOLUME)
    assert count(api) == 1
    runpod_emulator.fault("late_error", method="POST", status=502)
    assert api.post("/v2/network-volumes", json=VOLUME).status_code == 502
    assert count(api) == 2
    assert log.read_text() == logged


def test_a_caller_that_dies_while_it_sends_leaves_no_trace(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    log = runpod_emulator.server.data / "emulator.log"
    logged = log.read_text()
    url = httpx.URL(runpod_emulator.api_url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as caller:
        head = (
            f"POST /v2/network-volumes HTTP/1.1\r\nhost: {url.host}\r\nauthorization: Bearer {runpod_emulator.key}\r\n"
        )
        caller.sendall(f'{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"name"'.encode())
        caller.shutdown(socket.SHUT_RDWR)
    assert count(api) == 0
    assert log.read_text() == logged


def test_a_hang_ends_with_the_caller_or_in_a_cut(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.fault("hang", operation="listNetworkVolumes")
    with pytest.raises(httpx.ReadTimeout):
        api.get("/v2/network-volumes", timeout=0.3)
    runpod_emulator.fault("hang", operation="listNetworkVolumes", delay_ms=50)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.get("/v2/network-volumes")
    assert count(api) == 0


def test_an_answer_is_lost_after_a_while(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.fault("lost_answer", method="POST", delay_ms=60_000)
    with pytest.raises(httpx.ReadTimeout):
        api.post("/v2/network-volumes", json=VOLUME, timeout=0.5)
    assert count(api) == 1


def test_stale_lists_still_have_what_is_gone(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    old = api.post("/v2/network-volumes", json=VOLUME).json()["id"]
    runpod_emulator.advance(3601)
    new = api.post("/v2/network-volumes", json=VOLUME).json()["id"]
    for volume in (old, new):
        api.delete(f"/v2/network-volumes/{volume}")
    assert count(api) == 0
    runpod_emulator.fault("stale_list", operation="list*", times=None, delay_ms=3_600_000)
    listed = api.get("/v2/network-volumes").json()["networkVolumes"]
    assert [volume["id"] for volume in listed] == [old]
    assert api.get(f"/v2/network-volumes/{old}").status_code == 404


def test_stale_lists_leave_out_the_newest(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    made = api.post("/v2/network-volumes", json=VOLUME).json()
    identifier = runpod_emulator.fault("stale_list", operation="list*", times=None, delay_ms=3_600_000)
    assert count(api) == 0
    assert api.get(f"/v2/network-volumes/{made['id']}").status_code == 200
    runpod_emulator.advance(3601)
    assert count(api) == 1
    runpod_emulator.clear_faults(identifier)
    with pytest.raises(StartError, match="404"):
        runpod_emulator.clear_faults(identifier)


def test_without_capacity_workers_are_throttled_and_free(
    api: httpx.Client, endpoint: Create, plain_worker: Install, runpod_emulator: RunpodEmulator, until: Until
) -> None:
    plain_worker("while True:\n    job = take()\n    done(job, {'output': 1})\n")
    runpod_emulator.fault("no_capacity", times=None)
    made = endpoint()
    job = api.post(f"/jobs/v2/{made['id']}/run", json={"input": 1}).json()["id"]
    until(lambda: api.get(f"/jobs/v2/{made['id']}/health").json()["workers"]["throttled"] == 1)
    (worker,) = api.get(f"/v2/serverless/{made['id']}/workers").json()["workers"]
    assert (worker["gpuTypeId"], worker["startedAt"], worker["uptimeSeconds"]) == (None, None, None)
    assert api.get("/v2/billing/serverless").json()["records"] == []
    runpod_emulator.clear_faults()
    until(lambda: api.get(f"/jobs/v2/{made['id']}/status/{job}").json()["status"] == "COMPLETED")


def test_an_unknown_image_is_unhealthy_and_says_why(
    api: httpx.Client, jobs: httpx.Client, endpoint: Create, until: Until
) -> None:
    made = endpoint(image="nobody/knows:1")
    job = jobs.post(f"{made['id']}/run", json={"input": 1}).json()["id"]
    until(lambda: jobs.get(f"{made['id']}/health").json()["workers"]["unhealthy"] == 1)
    (worker,) = api.get(f"/v2/serverless/{made['id']}/workers").json()["workers"]
    jobs.post(f"{made['id']}/cancel/{job}")
    text = api.get(f"/v2/serverless/{made['id']}/workers/{worker['id']}/logs").text  # ends with the worker
    assert "--image nobody/knows=COMMAND" in text


def test_a_crash_loop_is_unhealthy_and_slows_down(
    jobs: httpx.Client, endpoint: Create, runpod_emulator: RunpodEmulator, until: Until
) -> None:
    runpod_emulator.map_image("example/worker", [sys.executable, "-c", "raise SystemExit(3)"])
    made = endpoint()
    jobs.post(f"{made['id']}/run", json={"input": 1})
    until(lambda: jobs.get(f"{made['id']}/health").json()["workers"]["unhealthy"] == 1)
    (worker,) = runpod_emulator.workers(made["id"])
    assert worker["pid"] is None


@pytest.mark.parametrize("case", [(3, 2), (7, 0)])
def test_an_unused_endpoint_is_scaled_down_without_a_word(
    api: httpx.Client, endpoint: Create, runpod_emulator: RunpodEmulator, until: Until, case: tuple[int, int]
) -> None:
    days, maximum = case
    made = endpoint(workers={"max": 5})
    path = f"/v2/serverless/{made['id']}"
    runpod_emulator.make_inactive(made["id"], days)
    until(lambda: api.get(path).json()["workers"]["max"] == maximum)
    assert api.patch(path, json={"workers": {"max": 5}}).json()["workers"]["max"] == 5
    runpod_emulator.advance(60)
    assert api.get(path).json()["workers"]["max"] == 5


def test_quota_is_reported_and_refused(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.set_quota(per_minute=2, per_hour=10)
    first = api.get("/v2/serverless")
    assert first.headers["ratelimit-policy"] == '"minute";q=2;w=60, "hour";q=10;w=3600'
    assert api.get("/v2/serverless/none").headers["ratelimit"].startswith('"minute";r=0;')
    refused = api.get("/v2/serverless")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "minute" in refused.json()["detail"]
    runpod_emulator.advance(61)
    assert api.get("/v2/serverless").status_code == 200


def test_requests_are_counted_by_operation_and_account(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    api.get("/v2/serverless")
    api.get("/v2/serverless/none")
    assert runpod_emulator.requests() == {"getEndpoint": 1, "listEndpoints": 1}
    assert runpod_emulator.requests(runpod_emulator.new_key()) == {}
    runpod_emulator.reset_requests()
    assert runpod_emulator.requests(runpod_emulator.key) == {}


def test_latency_delays_answers(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.set_latency(200)
    with pytest.raises(httpx.ReadTimeout):
        api.get("/v2/serverless", timeout=0.1)
    assert api.get("/v2/serverless").status_code == 200


def test_admin_answers_programs_on_this_machine_only(runpod_emulator: RunpodEmulator) -> None:
    url = f"{runpod_emulator.api_url}/admin/accounts"
    assert httpx.get(url, trust_env=False).status_code == 200
    assert httpx.get(url, headers={"Origin": "https://example.com"}, trust_env=False).status_code == 403


def test_an_emptied_account_shows_as_empty(
    api: httpx.Client, endpoint: Create, runpod_emulator: RunpodEmulator
) -> None:
    assert runpod_emulator.account()["empty"]
    made = endpoint()
    assert runpod_emulator.account()["endpoints"] == 1
    api.delete(f"/v2/serverless/{made['id']}")
    assert runpod_emulator.account()["empty"]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer(tmp_path / "data", tmp_path / "volumes", ("--kill-grace", "2")) as server:
        yield server


def _client(server: EmulatorServer, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.api_url, headers=headers, timeout=60, trust_env=False)


HOLD = """
while True:
    job = take()
    if job["input"] != "quick":
        time.sleep(600)
    done(job, {"output": 1})
"""


def test_a_killed_emulator_takes_its_workers_along_and_continues(
    own_server: EmulatorServer, plain_command: Callable[[str], list[str]], until: Until
) -> None:
    emulator = RunpodEmulator(own_server)
    emulator.map_image("example/worker", plain_command(HOLD))
    key = emulator.key
    with _client(own_server, key) as api:
        volume = api.post("/v2/network-volumes", json=VOLUME).json()["id"]
        made = api.post("/v2/serverless", json={**BODY, "networkVolumes": [volume], "env": {"A": "1"}}).json()
        path = f"/jobs/v2/{made['id']}"
        finished = api.post(f"{path}/runsync", json={"input": "quick"}).json()["id"]
        held = api.post(f"{path}/run", json={"input": "hold"}).json()["id"]
        until(lambda: api.get(f"{path}/status/{held}").json()["status"] == "IN_PROGRESS")
        (worker,) = emulator.workers()
        own_server.kill()
        until(lambda: not psutil.pid_exists(worker["pid"]))
        assert oct((own_server.data / "emulator.sqlite3").stat().st_mode & 0o777) == "0o600"
        port = own_server.port
        own_server.start()
        assert own_server.port == port
        assert api.get(f"/v2/serverless/{made['id']}").json() == made
        assert api.get(f"{path}/status/{finished}").json()["status"] == "COMPLETED"
        until(lambda: api.get(f"{path}/status/{held}").json()["status"] == "IN_PROGRESS")
        (again,) = emulator.workers()
        assert again["id"] != worker["id"]
        logs = api.get(f"/v2/serverless/{made['id']}/workers/{worker['id']}/logs").text
        assert "start container example/worker:1" in logs
        assert api.get("/v2/billing").json()["metadata"]["totals"]["serverlessGpuAmount"] > 0
        own_server.stop()
        until(lambda: not psutil.pid_exists(again["pid"]))
    emulator.close()
    stored = b"".join(file.read_bytes() for file in own_server.data.rglob("*") if file.is_file())
    assert key.encode() not in stored
    assert account_of(key).encode() in stored


def test_workers_of_a_vanished_emulator_are_killed_at_the_next_start(own_server: EmulatorServer, until: Until) -> None:
    emulator = RunpodEmulator(own_server)
    emulator.map_image("example/worker", "sleep 600")
    with _client(own_server, emulator.key) as api:
        api.post("/v2/serverless", json={**BODY, "workers": {"min": 1}})
        (worker,) = until(lambda: [w for w in emulator.workers() if w["pid"]])
        watcher = next(p for p in psutil.Process(own_server.pid).children() if "reaper" in " ".join(p.cmdline()))
        watcher.kill()
        own_server.kill()
        assert psutil.Process(worker["pid"]).is_running()
        own_server.start()
        until(lambda: not psutil.pid_exists(worker["pid"]))
    emulator.close()


def test_a_data_folder_in_use_is_refused(own_server: EmulatorServer) -> None:
    second = EmulatorServer(own_server.data, own_server.volumes)
    with pytest.raises(StartError, match="Another emulator uses the data folder"):
        second.start()


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmulatorServer(tmp_path / "data", tmp_path / "volumes")
        server.port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {server.port}"):
            server.start()


def test_sigterm_ends_a_held_log_stream(own_server: EmulatorServer, until: Until) -> None:
    emulator = RunpodEmulator(own_server)
    emulator.map_image("example/worker", "sleep 600")
    with _client(own_server, emulator.key) as api:
        made = api.post("/v2/serverless", json={**BODY, "workers": {"min": 1}}).json()
        (worker,) = until(lambda: [w for w in emulator.workers() if w["pid"]])
        path = f"/v2/serverless/{made['id']}/workers/{worker['id']}/logs"
        with api.stream("GET", path) as stream:
            lines = stream.iter_lines()
            next(lines)
            threading.Thread(target=os.kill, args=(own_server.pid, signal.SIGTERM)).start()
            deadline = time.monotonic() + 30
            with contextlib.suppress(httpx.RemoteProtocolError):  # ended or cut, both let the server go
                for _ in lines:
                    assert time.monotonic() < deadline
    emulator.close()


def test_an_emulator_for_tests_ends_with_the_test_run(tmp_path: Path, until: Until) -> None:
    source = f"""
import time
from pathlib import Path
from pulumi_visgate.local.emulator.testing import EmulatorServer
server = EmulatorServer(Path({str(tmp_path / "data")!r}), Path({str(tmp_path / "volumes")!r}))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        emulator = psutil.Process(int(run.stdout.readline()))
        run.kill()
    until(lambda: not emulator.is_running())
