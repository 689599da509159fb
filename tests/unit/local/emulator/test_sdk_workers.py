"""Real worker processes on the unmodified runpod SDK."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest
from httpx_sse import connect_sse

from pulumi_visgate.local.emulator.testing import RunpodEmulator

Create = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], Any]], Any]
Install = Callable[[str], None]

HANDLER = """
import asyncio, os
async def handler(job):
    say = job["input"]
    print("got", say, flush=True)
    if say == "boom":
        raise ValueError("boom")
    if say == "error":
        return {"error": "a reason", "part": 1}
    if say == "env":
        return {k: v for k, v in os.environ.items() if k.startswith(("RUNPOD_", "VISGATE_")) or k in ("A", "HOME")}
    if say == "wait":
        runpod.serverless.progress_update(job, {"step": 1})
        await asyncio.sleep(600)
    return {"said": say}
"""
STREAM = """
def handler(job):
    for n in range(3):
        yield n
"""


def test_the_sdk_takes_finishes_fails_and_cancels_jobs(
    api: httpx.Client, jobs: httpx.Client, endpoint: Create, sdk_worker: Install, until: Until
) -> None:
    sdk_worker(HANDLER)
    made = endpoint(workers={"max": 1}, env={"A": "1", "RUNPOD_POD_ID": "mine"})

    def sync(say: object) -> dict[str, Any]:
        answer: dict[str, Any] = jobs.post(f"{made['id']}/runsync", json={"input": say}).json()
        return answer

    assert sync("hi")["output"] == {"said": "hi"}
    failed = sync("boom")
    assert failed["status"] == "FAILED"
    assert "ValueError" in failed["error"]
    reason = sync("error")
    assert (reason["status"], reason["error"], reason["output"]) == ("FAILED", "a reason", {"part": 1})
    job = jobs.post(f"{made['id']}/run", json={"input": "wait"}).json()["id"]
    path = f"{made['id']}/status/{job}"
    until(lambda: jobs.get(path).json().get("output") == {"step": 1})
    (worker,) = api.get(f"/v2/serverless/{made['id']}/workers").json()["workers"]
    assert (worker["status"], worker["isStale"], worker["gpuCount"]) == ("RUNNING", False, 1)
    jobs.post(f"{made['id']}/cancel/{job}")
    after = sync("again")  # the SDK has stopped the cancelled job itself, in the same process
    assert after["workerId"] == worker["id"]
    assert jobs.get(path).json()["status"] == "CANCELLED"


def test_a_worker_sees_its_volume_and_no_account_key(
    api: httpx.Client, jobs: httpx.Client, endpoint: Create, sdk_worker: Install, runpod_emulator: RunpodEmulator
) -> None:
    sdk_worker(HANDLER)
    volume = api.post("/v2/network-volumes", json={"name": "v", "size": 10, "dataCenter": "EU-CZ-1"}).json()["id"]
    made = endpoint(networkVolumes=[volume], env={"A": "1", "RUNPOD_POD_ID": "mine"})
    env = jobs.post(f"{made['id']}/runsync", json={"input": "env"}).json()["output"]
    assert env["VISGATE_VOLUME_PATH"] == str(runpod_emulator.volumes_dir / volume)
    assert (env["A"], env["RUNPOD_ENDPOINT_ID"], env["RUNPOD_DC_ID"]) == ("1", made["id"], "EU-CZ-1")
    assert env["RUNPOD_POD_ID"] != "mine"
    assert runpod_emulator.key not in env.values()
    headers = {"Authorization": f"Bearer {env['RUNPOD_API_KEY']}"}
    own = f"/v2/serverless/{made['id']}"
    assert api.get(own, headers=headers).status_code == 200
    assert api.patch(own, json={"workers": {"max": 1}}, headers=headers).status_code == 200
    for method, path in (("GET", "/v2/serverless"), ("GET", f"/v2/network-volumes/{volume}"), ("DELETE", own + "x")):
        assert api.request(method, path, headers=headers).status_code == 403
    assert api.delete(own, headers=headers).status_code == 204


def test_a_streaming_handler_is_read_piece_by_piece(jobs: httpx.Client, endpoint: Create, sdk_worker: Install) -> None:
    sdk_worker(STREAM)
    made = endpoint()
    job = jobs.post(f"{made['id']}/run", json={"input": 1}).json()["id"]
    pieces: list[Any] = []
    while True:
        answer = jobs.get(f"{made['id']}/stream/{job}").json()
        pieces += [item["output"] for item in answer["stream"]]
        if answer["status"] == "COMPLETED" and not answer["stream"]:
            break
    assert pieces == [0, 1, 2]


def test_minimum_workers_start_at_once_roll_over_and_idle_out(
    api: httpx.Client, endpoint: Create, sdk_worker: Install, until: Until, runpod_emulator: RunpodEmulator
) -> None:
    sdk_worker(HANDLER)
    made = endpoint(workers={"min": 1, "max": 2, "idleTimeout": 5})
    path = f"/v2/serverless/{made['id']}"

    def workers() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"{path}/workers").json()["workers"]
        return found

    first = until(lambda: [w for w in workers() if w["status"] == "IDLE"])[0]
    runpod_emulator.advance(600)
    api.patch(path, json={"env": {"B": "2"}})
    second = until(lambda: [w for w in workers() if w["version"] == 2 and w["status"] == "IDLE"])[0]
    assert second["id"] != first["id"]
    releases = api.get(f"{path}/releases").json()
    assert releases["rollout"] == {
        "inProgress": False, "workersOnLatest": 1, "workersTotal": 1, "percentOnLatest": 100
    }  # fmt: skip
    api.patch(path, json={"workers": {"min": 0}})
    runpod_emulator.advance(6)
    until(lambda: not runpod_emulator.workers(made["id"]))
    bill = api.get(f"/v2/billing/serverless?serverlessId={made['id']}").json()["metadata"]["totals"]
    assert bill["gpuAmount"] == pytest.approx(600 * 1.1 / 3600, rel=0.2)
    assert bill["totalAmount"] == bill["gpuAmount"]


def test_logs_are_followed_live_resumed_and_kept(
    api: httpx.Client,
    jobs: httpx.Client,
    endpoint: Create,
    sdk_worker: Install,
    runpod_emulator: RunpodEmulator,
) -> None:
    sdk_worker(HANDLER)
    made = endpoint()
    jobs.post(f"{made['id']}/runsync", json={"input": "one"})
    (worker,) = runpod_emulator.workers(made["id"])
    path = f"/v2/serverless/{made['id']}/workers/{worker['id']}/logs"
    seen: list[tuple[str, dict[str, Any]]] = []
    with connect_sse(api, "GET", path, params={"tail": 5000}) as source:
        assert source.response.headers["x-accel-buffering"] == "no"
        sender: threading.Thread | None = None
        for event in source.iter_sse():
            seen.append((event.id, event.json()))
            if "got one" in event.json()["line"]:
                sender = threading.Thread(
                    target=jobs.post, args=(f"{made['id']}/runsync",), kwargs={"json": {"input": "two"}}
                )
                sender.start()
            if event.json()["line"] == "got two":
                break
        assert sender is not None
        sender.join()
    assert {data["source"] for _, data in seen} == {"container", "system"}
    assert [event_id for event_id, _ in seen] == sorted(event_id for event_id, _ in seen)
    assert all(event_id.startswith(data["ts"]) for event_id, data in seen)
    middle = len(seen) // 2
    resumed: list[str] = []
    with connect_sse(api, "GET", path, headers={"Last-Event-ID": seen[middle][0]}) as source:
        for event in source.iter_sse():
            resumed.append(event.id)
            if event.id == seen[-1][0]:
                break
    assert resumed == [event_id for event_id, _ in seen[middle + 1 :]]
    runpod_emulator.advance(11)
    with connect_sse(api, "GET", path, params={"source": "system", "tail": 1}) as source:
        *_, last = source.iter_sse()  # ends by itself, with the worker
    assert last.json()["line"] == "worker has ended"
    assert api.get(f"{path}?tail=6000").status_code == 422
    assert api.get(f"{path}?source=kernel").status_code == 422
    assert api.get(path, headers={"Last-Event-ID": "yesterday"}).status_code == 422
    assert api.get(path.replace(worker["id"], "nobody")).status_code == 404


def test_an_idle_worker_costs_no_busy_loop(
    jobs: httpx.Client, endpoint: Create, sdk_worker: Install, runpod_emulator: RunpodEmulator
) -> None:
    sdk_worker(HANDLER)
    made = endpoint()
    jobs.post(f"{made['id']}/runsync", json={"input": "one"})
    (worker,) = runpod_emulator.workers(made["id"])
    process = psutil.Process(worker["pid"])
    before = process.num_ctx_switches().voluntary
    jobs.post(f"{made['id']}/runsync", json={"input": "two"})
    # The SDK looks at its own queue ten times a second; a hot loop on job-take would switch thousands of times.
    assert process.num_ctx_switches().voluntary - before < 1000
