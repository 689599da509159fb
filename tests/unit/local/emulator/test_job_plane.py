"""The job API with workers that speak the worker protocol in a few lines, so that they start fast."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import psutil
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator

Create = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], Any]], Any]
Install = Callable[[str], None]

ECHO = """
while True:
    job = take()
    done(job, {"output": job["input"]})
"""
HOLD = """
while True:
    job = take()
    print("holding", job["id"], flush=True)
    done(job, {"status": "IN_PROGRESS", "output": {"step": 1}})
    time.sleep(600)
"""


@dataclass
class Plane:
    """An account with its workers."""

    emulator: RunpodEmulator
    jobs: httpx.Client
    until: Until

    def run(self, endpoint: dict[str, Any], input: object = 1, **fields: Any) -> str:
        answer = self.jobs.post(f"{endpoint['id']}/run", json={"input": input, **fields})
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "IN_QUEUE"
        return str(answer.json()["id"])

    def status(self, endpoint: dict[str, Any], job: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.jobs.get(f"{endpoint['id']}/status/{job}").json()
        return answer

    def running(self, endpoint: dict[str, Any], job: str) -> dict[str, Any]:
        """Wait until a job runs and has reported progress."""

        def probe() -> dict[str, Any] | None:
            found = self.status(endpoint, job)
            return found if found["status"] == "IN_PROGRESS" and "output" in found else None

        found: dict[str, Any] = self.until(probe)
        return found

    def is_free_of(self, endpoint: dict[str, Any], job: str, worker: str) -> bool:
        """Tell whether a worker no longer has a job."""
        found = self.status(endpoint, job)
        return (found["status"], found.get("workerId")) != ("IN_PROGRESS", worker)

    def ended(self, endpoint: dict[str, Any], job: str, state: str) -> dict[str, Any]:
        found: dict[str, Any] = self.until(lambda: (answer := self.status(endpoint, job))["status"] == state and answer)
        return found

    def states(self, endpoint: dict[str, Any]) -> list[str]:
        return sorted(worker["state"] for worker in self.emulator.workers(endpoint["id"]))


@pytest.fixture
def plane(runpod_emulator: RunpodEmulator, jobs: httpx.Client, until: Until) -> Plane:
    return Plane(runpod_emulator, jobs, until)


def test_runsync_returns_the_result(jobs: httpx.Client, endpoint: Create, plain_worker: Install) -> None:
    plain_worker(ECHO)
    made = endpoint()
    answer = jobs.post(f"{made['id']}/runsync", json={"input": {"a": [1, None]}}).json()
    assert (answer["status"], answer["output"]) == ("COMPLETED", {"a": [1, None]})
    assert answer["id"].startswith("sync-")


def test_runsync_gives_up_waiting_and_the_job_goes_on(jobs: httpx.Client, endpoint: Create) -> None:
    made = endpoint(workers={"max": 0})
    answer = jobs.post(f"{made['id']}/runsync?wait=1000", json={"input": 1}).json()
    assert answer["status"] == "IN_QUEUE"
    assert jobs.get(f"{made['id']}/status/{answer['id']}").json()["status"] == "IN_QUEUE"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "input"),
        ([], "input"),
        ({"input": 1, "webhok": "x"}, "webhok"),
        ({"input": 1, "webhook": "ftp://x"}, "webhook"),
        ({"input": 1, "policy": {"executionTimeout": 10}}, "policy.executionTimeout"),
        ({"input": 1, "policy": {"ttl": "x"}}, "policy.ttl"),
        ({"input": 1, "policy": 5}, "policy"),
    ],
)
def test_wrong_jobs_are_refused(jobs: httpx.Client, endpoint: Create, body: object, names: str) -> None:
    answer = jobs.post(f"{endpoint()['id']}/run", json=body)
    assert answer.status_code == 400
    assert names in answer.json()["detail"]


def test_a_job_larger_than_the_limit_is_refused(jobs: httpx.Client, endpoint: Create) -> None:
    made = endpoint(workers={"max": 0})
    answer = jobs.post(f"{made['id']}/run", json={"input": "x" * 10_000_001})
    assert answer.status_code == 413
    assert jobs.get(f"{made['id']}/health").json()["jobs"]["inQueue"] == 0


def test_unknown_jobs_and_load_balancers(jobs: httpx.Client, endpoint: Create) -> None:
    made = endpoint()
    assert jobs.get(f"{made['id']}/status/nope").status_code == 404
    balancer = endpoint(type="LOAD_BALANCER", scaling={"type": "REQUEST_COUNT", "requestCount": 1})
    assert jobs.post(f"{balancer['id']}/run", json={"input": 1}).status_code == 400


def test_cancel_of_a_running_job_frees_the_worker(plane: Plane, endpoint: Create, plain_worker: Install) -> None:
    plain_worker(HOLD)
    made = endpoint(workers={"max": 1})
    job = plane.run(made)
    holder = plane.running(made, job)["workerId"]
    (before,) = plane.emulator.workers(made["id"])
    assert plane.jobs.post(f"{made['id']}/cancel/{job}").json()["status"] == "CANCELLED"
    assert plane.jobs.post(f"{made['id']}/cancel/{job}").json()["status"] == "CANCELLED"
    second = plane.run(made)
    plane.emulator.advance(11)  # the plain worker never hears the stop, so it is restarted
    assert plane.running(made, second)["workerId"] == holder
    (after,) = plane.emulator.workers(made["id"])
    assert after["pid"] != before["pid"]


def test_a_job_over_its_time_is_timed_out_and_can_be_retried(
    plane: Plane, endpoint: Create, plain_worker: Install
) -> None:
    plain_worker(HOLD)
    made = endpoint(workers={"max": 1})
    job = plane.run(made, policy={"executionTimeout": 5000})
    plane.running(made, job)
    plane.emulator.advance(6)
    ended = plane.ended(made, job, "TIMED_OUT")
    assert "5000 ms" in ended["error"]
    assert plane.jobs.post(f"{made['id']}/retry/{job}").json() == {"id": job, "status": "IN_QUEUE"}
    plane.emulator.advance(11)
    plane.running(made, job)
    assert plane.jobs.post(f"{made['id']}/retry/{job}").status_code == 400


def test_a_queued_job_past_its_ttl_times_out(plane: Plane, endpoint: Create) -> None:
    made = endpoint(workers={"max": 0})
    job = plane.run(made, policy={"ttl": 10_000})
    plane.emulator.advance(11)
    assert "ttl" in plane.until(lambda: plane.status(made, job).get("error"))


def test_purge_and_health_count(plane: Plane, endpoint: Create) -> None:
    made = endpoint(workers={"max": 0})
    for _ in range(3):
        plane.run(made)
    assert plane.jobs.get(f"{made['id']}/health").json()["jobs"]["inQueue"] == 3
    assert plane.jobs.post(f"{made['id']}/purge-queue").json() == {"removed": 3, "status": "completed"}
    assert plane.jobs.get(f"{made['id']}/health").json() == {
        "jobs": {"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0},
        "workers": {"idle": 0, "initializing": 0, "ready": 0, "running": 0, "throttled": 0, "unhealthy": 0},
    }


def test_a_worker_killed_with_a_job_gives_it_back(plane: Plane, endpoint: Create, plain_worker: Install) -> None:
    plain_worker(HOLD)
    made = endpoint(workers={"max": 1})
    job = plane.run(made)
    for _ in range(3):
        holder = plane.running(made, job)["workerId"]
        (worker,) = (found for found in plane.emulator.workers(made["id"]) if found["id"] == holder)
        psutil.Process(worker["pid"]).kill()
        plane.until(partial(plane.is_free_of, made, job, holder))
    ended = plane.ended(made, job, "FAILED")
    assert ended["error"] == "worker exited with exit code -9"
    assert ended["retries"] == 2


def test_an_injected_death_hits_one_worker(
    jobs: httpx.Client, endpoint: Create, plain_worker: Install, runpod_emulator: RunpodEmulator
) -> None:
    plain_worker("job = take()\ntime.sleep(0.3)\ndone(job, {'output': 'survived'})\n" + ECHO)
    runpod_emulator.fault("worker_death", delay_ms=10)
    answer = jobs.post(f"{endpoint()['id']}/runsync", json={"input": 1}).json()
    assert (answer["output"], answer["retries"]) == ("survived", 1)


def test_children_of_a_worker_end_with_it(
    plane: Plane, endpoint: Create, api: httpx.Client, plain_worker: Install
) -> None:
    plain_worker("import subprocess\nsubprocess.Popen(['sleep', '600'])\n" + HOLD)
    made = endpoint()
    plane.running(made, plane.run(made))
    (worker,) = plane.emulator.workers(made["id"])
    (child,) = plane.until(lambda: psutil.Process(worker["pid"]).children())
    api.delete(f"/v2/serverless/{made['id']}")
    plane.until(lambda: not psutil.pid_exists(worker["pid"]) and not child.is_running())


def test_waiting_jobs_add_workers_up_to_the_maximum(plane: Plane, endpoint: Create, plain_worker: Install) -> None:
    plain_worker(HOLD)
    made = endpoint(workers={"max": 2}, scaling={"type": "QUEUE_DELAY", "queueDelay": 30})
    first = plane.run(made)
    plane.running(made, first)
    plane.run(made)
    plane.run(made)
    assert len(plane.emulator.workers(made["id"])) == 1
    plane.emulator.advance(31)
    plane.until(lambda: plane.states(made) == ["RUNNING", "RUNNING"])


def test_request_count_gives_jobs_workers_at_once(plane: Plane, endpoint: Create, plain_worker: Install) -> None:
    plain_worker(HOLD)
    made = endpoint(workers={"max": 3}, scaling={"type": "REQUEST_COUNT", "requestCount": 1})
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: plane.run(made), range(2)))
    plane.until(lambda: plane.states(made) == ["RUNNING", "RUNNING"])


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook receiver that refuses the first delivery."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202 if len(received) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_the_job_and_needs_200(
    plane: Plane, endpoint: Create, receiver: tuple[str, list[dict[str, Any]]]
) -> None:
    url, received = receiver
    made = endpoint(workers={"max": 0})
    job = plane.run(made, {"a": 1}, webhook=url)
    plane.jobs.post(f"{made['id']}/cancel/{job}")
    plane.until(lambda: len(received) == 2)
    assert received[0] == received[1] == {"id": job, "status": "CANCELLED", "input": {"a": 1}, "webhook": url}
