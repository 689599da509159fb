"""A gateway as its own process, against the emulated Runpod and a worker that speaks through Runpod's SDK."""

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import ssl
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
import trustme
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.testing import HubMirror
from tests.s3 import S3_KEY_ID, S3_SECRET, s3_server
from visgate_contract.events import Event

MODEL = "visgate/tiny-sd"
IMAGE = "tests/scripted-worker"
SIGNING_KEY = "signing-key-canary-of-the-contract-tests"
TOKEN = "hf_CANARYTOKENOFTHECONTRACTTESTS"
START_S = 60.0

# It logs every secret it has, which a careless worker might do.
WORKER = """
import os, time
from datetime import UTC, datetime
import hashlib, runpod
from visgate_contract.events import Artifact, Event, EventData, LoadProgress, Progress, Status, Timings
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
    if given.params.prompt == "die":
        os._exit(1)
    if given.params.prompt == "load":
        tell(Status.PROGRESS, loading=LoadProgress(source="s3", done_bytes=1_000_000, total_bytes=5_000_000))
    while given.params.prompt in ("wait", "load") and time.monotonic() < deadline:
        time.sleep(0.2)
        # The SDK sends each from a thread of its own, so an older one may have come last.
        runpod.serverless.progress_update(job, JobProgress(events=tuple(events)).model_dump(mode="json"))
    tell(Status.PROGRESS, progress=Progress(step=1, steps=1))
    digest = hashlib.sha256(b"picture").hexdigest()
    made = tuple(Artifact(url=upload.cdn_url, content_type="image/png", width=512, height=512, size_bytes=7,
        sha256=digest, seed=(given.params.seed or 0) + n) for n, upload in enumerate(given.uploads))
    tell(Status.READY, artifacts=made, timings=Timings(generate_s=0.5))
    return JobResult(task_id=given.task_id, artifacts=made, timings=Timings(generate_s=0.5),
        events=tuple(events)).to_runpod()

runpod.serverless.start({"handler": handler})
"""


class GatewayProcess:
    """A gateway under `python -m`, with everything it has logged."""

    def __init__(self, env: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(env.get("PORT", probe.getsockname()[1]))
        self.port = port
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

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}", "X-HF-Token": TOKEN}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    @staticmethod
    def follow(client: httpx.Client, job_id: str) -> list[Event]:
        """Every event of a job, to its end."""
        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            stream.response.raise_for_status()
            return [Event.model_validate_json(sse.data) for sse in stream.iter_sse() if sse.event.startswith("job.")]

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


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real S3 server with a bucket `artifacts`; where it is."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "buckets" / "artifacts").mkdir(parents=True)
    (folder / "metadata").mkdir()
    with s3_server(folder / "buckets", folder / "metadata") as address:
        yield address


@pytest.fixture(scope="session")
def running_hub() -> Iterator[HubMirror]:
    with testing.serve() as mirror:
        yield mirror


@pytest.fixture
def hub(running_hub: HubMirror) -> HubMirror:
    """A hub that has the model of these tests."""
    running_hub.faults = testing.Faults()
    running_hub.access.gates.clear()
    running_hub.commit(MODEL, testing.model())
    running_hub.reset()
    return running_hub


@pytest.fixture
def start_gateway(runpod_emulator: Any, hub: HubMirror, tmp_path: Path) -> Iterator[StartGateway]:
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
            "HF_ENDPOINT": hub.url,
            "BUCKET": "artifacts",
            "S3_ENDPOINT": "http://127.0.0.1:9",
            "S3_ACCESS_KEY_ID": S3_KEY_ID,
            "S3_SECRET_ACCESS_KEY": S3_SECRET,
            "CDN_BASE_URL": "http://127.0.0.1:9/artifacts",
            "ALLOW_LOOPBACK": "true",
        }
        started.append(GatewayProcess({**env, **changes}))
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


class Tls:
    """A TLS endpoint on loopback that passes everything on to a port, for clients that know https only."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self.target = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Tls":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)

    async def _end(self) -> None:
        self._server.close()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while part := await source.read(65536):
                    sink.write(part)
                    await sink.drain()
                if sink.can_write_eof():
                    sink.write_eof()

        try:
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        finally:
            for each in (writer, inner_writer):
                each.close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    with Tls(tmp_path) as endpoint:
        yield endpoint


@pytest.fixture
def cdn() -> Iterator[str]:
    """Serves what the scripted worker says that it delivers, at every address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "7")
            self.end_headers()
            self.wfile.write(b"picture")

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/artifacts"
        server.shutdown()
        thread.join(20)


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
