"""The gateway as its own process, against the emulated Runpod and a worker that speaks through Runpod's SDK."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import httpx_sse
import pytest
from standardwebhooks.webhooks import Webhook
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from visgate_contract.events import Event, Status

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
IMAGE = "tests/scripted-worker"
SIGNING_KEY = "signing-key-canary-of-the-contract-tests"
S3_SECRET = "s3-secret-canary-of-the-contract-tests"
TOKEN = "hf_CANARYTOKENOFTHECONTRACTTESTS"
START_S = 60.0

# It logs every secret it has, which a careless worker might do.
WORKER = """
import os, time
from datetime import UTC, datetime
import runpod
from visgate_contract.events import Event, EventData, Progress, Status
from visgate_contract.jobs import JobInput, JobProgress, JobResult
from visgate_contract.signing import JobRef

def handler(job):
    given = JobInput.model_validate(job["input"])
    ref = JobRef(os.environ["RUNPOD_ENDPOINT_ID"], job["id"], given.task_id)
    job_id = ref.job_id(os.environ["VISGATE_WEBHOOK_SECRET"])
    events = []
    def tell(status, **data):
        events.append(Event.of(EventData(task_id=given.task_id, job_id=job_id, sequence=len(events) + 1, status=status,
            model_id=given.model_id, task=given.params.task, **data), timestamp=datetime.now(UTC)))
        runpod.serverless.progress_update(job, JobProgress(events=tuple(events)).model_dump(mode="json"))
    tell(Status.STARTED)
    print("prompt:", given.params.prompt, flush=True)
    print("webhook secret:", os.environ["VISGATE_WEBHOOK_SECRET"], flush=True)
    print("token:", os.environ.get("HF_TOKEN"), flush=True)
    deadline = time.monotonic() + 60
    while given.params.prompt == "wait" and time.monotonic() < deadline:
        time.sleep(0.05)
    tell(Status.PROGRESS, progress=Progress(step=1, steps=1))
    tell(Status.READY)
    return JobResult(task_id=given.task_id, events=tuple(events)).to_runpod()

runpod.serverless.start({"handler": handler})
"""


class GatewayProcess:
    """A gateway under `python -m`, with everything it has logged."""

    def __init__(self, env: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = io.StringIO()
        settings = {"PORT": str(port), "PUBLIC_URL": self.url, "LOG_LEVEL": "debug", **env}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pulumi_visgate.gateway"],
            env={**os.environ, **{f"VISGATE_GATEWAY_{name}": value for name, value in settings.items()}},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        attempts = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, AssertionError)),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(START_S),
            reraise=True,
        )
        attempts(self._ready)

    def _ready(self) -> None:
        assert self.process.poll() is None, self.log.getvalue()
        assert httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.write(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(20)
        if self.process.stderr is not None:
            self.process.stderr.close()


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(runpod_emulator: Any, tmp_path: Path) -> Iterator[StartGateway]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    runpod_emulator.map_image(IMAGE, [sys.executable, str(script)])
    started: list[GatewayProcess] = []

    def start(**changes: str) -> GatewayProcess:
        env = {
            "SIGNING_KEY": SIGNING_KEY,
            "RUNPOD_API_URL": runpod_emulator.api_url,
            "RUNPOD_JOBS_URL": runpod_emulator.jobs_url,
            "IMAGE": IMAGE,
            "GPU_POOLS": '["ADA_24"]',
            "MODELS": json.dumps([{"model_id": MODEL}]),
            "BUCKET": "artifacts",
            "S3_ENDPOINT": "http://127.0.0.1:9",
            "S3_ACCESS_KEY_ID": "AKIACONTRACTTESTS000",
            "S3_SECRET_ACCESS_KEY": S3_SECRET,
            "CDN_BASE_URL": "http://127.0.0.1:9/artifacts",
            "ALLOW_LOOPBACK": "true",
        }
        started.append(GatewayProcess({**env, **changes}))
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


@pytest.fixture
def receiver() -> Iterator[tuple[str, Queue[tuple[dict[str, str], bytes]]]]:
    received: Queue[tuple[dict[str, str], bytes]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/in", received
    server.shutdown()
    thread.join(20)
    server.server_close()


def client_of(gateway: GatewayProcess, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}", "X-HF-Token": TOKEN}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False)


def follow(client: httpx.Client, job_id: str) -> list[Event]:
    with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
        stream.response.raise_for_status()
        return [Event.model_validate_json(sse.data) for sse in stream.iter_sse()]


def test_from_cold_to_warm_with_events_logs_and_webhook(
    start_gateway: StartGateway, runpod_emulator: Any, receiver: tuple[str, Queue[tuple[dict[str, str], bytes]]]
) -> None:
    url, received = receiver
    gateway, key = start_gateway(), runpod_emulator.key
    body = {"model": MODEL, "input": {"prompt": "a red fox"}, "webhook_url": url}
    with client_of(gateway, key) as client:
        cold = client.post("/v1/jobs", json=body)
        assert cold.status_code == 202, cold.text
        assert cold.json()["status"] == "accepted_cold"
        secret = client.get("/v1/webhooks/key").json()["secret"]
        headers, content = received.get(timeout=20)
        Webhook(secret).verify(content, headers)
        assert Event.model_validate_json(content).data.status is Status.PROVISIONING

        job_id = cold.json()["job_id"]
        events = follow(client, job_id)
        assert events[0].data.status is Status.PROVISIONING
        assert events[-1].data.status is Status.READY
        assert [event.data.sequence for event in events] == sorted({event.data.sequence for event in events})
        assert {event.data.job_id for event in events} == {job_id}
        shown = client.get(f"/v1/jobs/{job_id}").json()
        assert (shown["status"], shown["runpod_status"]) == ("ready", "COMPLETED")

        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/logs") as stream:
            stream.response.raise_for_status()
            logged = [sse.data for sse in stream.iter_sse()]
        assert any("prompt: a red fox" in line for line in logged)
        assert any("webhook secret: [masked]" in line for line in logged)
        assert any("token: [masked]" in line for line in logged)

        warm = client.post("/v1/jobs", json=body).json()
        ready = client.post("/v1/deployments", json={"model": MODEL})
        (deployment,) = client.get("/v1/deployments").json()["deployments"]
        assert (warm["status"], ready.status_code) == ("warm_ready", 200)
        assert deployment["endpoint_id"] == ready.json()["endpoint_id"]
        assert client.delete(f"/v1/deployments/{deployment['deployment_id']}").status_code == 204
        assert client.get("/v1/deployments").json() == {"deployments": []}
    gateway.close()
    log = gateway.log.getvalue()
    assert "POST /v1/jobs" in log
    for canary in (key, TOKEN, secret, SIGNING_KEY, S3_SECRET):
        assert canary not in log
        assert canary not in "".join(logged)


def test_a_job_outlives_the_gateway_that_took_it(start_gateway: StartGateway, runpod_emulator: Any) -> None:
    first, key = start_gateway(), runpod_emulator.key
    with client_of(first, key) as client:
        accepted = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "a red fox"}}).json()
    first.kill()
    with client_of(start_gateway(), key) as client:
        events = follow(client, accepted["job_id"])
    assert events[-1].data.status is Status.READY
    assert events[0].data.task_id == accepted["task_id"]


def test_a_running_job_is_cancelled_and_its_stream_ends(start_gateway: StartGateway, runpod_emulator: Any) -> None:
    gateway = start_gateway()
    with client_of(gateway, runpod_emulator.key) as client, client_of(gateway, runpod_emulator.key) as other:
        job_id = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "wait"}}).json()["job_id"]
        events = []
        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            for sse in stream.iter_sse():
                events.append(Event.model_validate_json(sse.data))
                if events[-1].data.status is Status.STARTED:
                    assert other.post(f"/v1/jobs/{job_id}/cancel").json()["error"]["code"] == "cancelled"
    last = events[-1].data
    assert last.error is not None
    assert (last.status, last.error.code) == (Status.FAILED, "cancelled")


def test_equal_requests_to_two_gateways_leave_one_endpoint(start_gateway: StartGateway, runpod_emulator: Any) -> None:
    gateways, key = (start_gateway(), start_gateway()), runpod_emulator.key
    runpod_emulator.set_latency(100)
    body = {"model": MODEL, "input": {"prompt": "a red fox"}}
    answers: Queue[httpx.Response] = Queue()

    def post(gateway: GatewayProcess) -> None:
        with client_of(gateway, key) as client:
            answers.put(client.post("/v1/jobs", json=body))

    threads = [threading.Thread(target=post, args=(gateway,)) for gateway in gateways for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = [answers.get_nowait() for _ in threads]
    assert [answer.status_code for answer in found] == [202] * 4, [answer.text for answer in found]
    assert len({answer.json()["endpoint_id"] for answer in found}) == 1
    with client_of(gateways[0], key) as client:
        assert len(client.get("/v1/deployments").json()["deployments"]) == 1


def test_an_endpoint_that_runpod_scaled_down_is_restored(start_gateway: StartGateway, runpod_emulator: Any) -> None:
    gateway, body = start_gateway(), {"model": MODEL, "input": {"prompt": "a red fox"}}
    with client_of(gateway, runpod_emulator.key) as client:
        endpoint = client.post("/v1/deployments", json={"model": MODEL}).json()["endpoint_id"]
        runpod_emulator.make_inactive(endpoint, 7)
        (before,) = client.get("/v1/deployments").json()["deployments"]
        accepted = client.post("/v1/jobs", json=body).json()
        (after,) = client.get("/v1/deployments").json()["deployments"]
        assert follow(client, accepted["job_id"])[-1].data.status is Status.READY
    assert (before["workers_max"], after["workers_max"]) == (0, 3)
    assert accepted["endpoint_id"] == endpoint


def test_a_dead_runpod_is_one_clear_problem(start_gateway: StartGateway) -> None:
    gateway = start_gateway(RUNPOD_API_URL="http://127.0.0.1:9")
    with client_of(gateway, "rpa_CANARYKEYOFADEADRUNPOD0000") as client:
        answer = client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (502, "runpod_unreachable")
    assert answer.json()["hint"]
    assert "CANARY" not in answer.text
