"""Servers that the worker talks to: Runpod's queue, object storage, webhook receivers; and the tiny model."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from visgate_contract.signing import derive_webhook_secret
from visgate_worker import tiny_model

MODEL_ID = "visgate/tiny"
WEBHOOK_SECRET = derive_webhook_secret("a signing key of a test platform", "0" * 64)
LIMIT_S = 60.0


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    before: Callable[[], object] | None = None


def _serve(handler: Any) -> None:
    outer: Server = handler.outer
    length = int(handler.headers.get("content-length") or 0)
    headers = {name.lower(): value for name, value in handler.headers.items()}
    answer = outer.take(Request(handler.command, handler.path, headers, handler.rfile.read(length)))
    if answer.before is not None:
        answer.before()
    try:
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("content-type", answer.content_type)
            handler.send_header("content-length", str(len(answer.body)))
        handler.end_headers()
        if answer.status != 204 and handler.command != "HEAD":
            handler.wfile.write(answer.body)
    except OSError:
        handler.close_connection = True


class Server:
    """An HTTP server whose answers a test chooses; keeps every request."""

    def __init__(self, answer: Callable[[Request], Answer] = lambda _: Answer()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._changed = threading.Condition()

        methods = dict.fromkeys(("do_GET", "do_POST", "do_PUT", "do_PATCH", "do_DELETE", "do_HEAD"), _serve)
        handler = type("Handler", (BaseHTTPRequestHandler,), {"protocol_version": "HTTP/1.1", "outer": self, **methods})
        handler.log_message = lambda *_: None  # type: ignore[attr-defined]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, request: Request) -> Answer:
        """Keep a request and return its answer; the request counts once the answer is known."""
        answer = self.answer(request)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return answer

    def until(self, condition: Callable[[list[Request]], bool], limit_s: float = LIMIT_S) -> list[Request]:
        """Wait until the requests so far fulfil a condition, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.requests), limit_s), self.requests
            return list(self.requests)

    def close(self) -> None:
        """Stop serving; a second time does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(answer: Callable[[Request], Answer] = lambda _: Answer()) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def make_lasting_server() -> Iterator[Callable[..., Server]]:
    """Make servers that outlive a test."""
    servers: list[Server] = []

    def make(answer: Callable[[Request], Answer] = lambda _: Answer()) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def answer_of() -> type[Answer]:
    """The answers that a server's function returns."""
    return Answer


@pytest.fixture(scope="session")
def tiny_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network volume with the tiny model in its place."""
    volume = tmp_path_factory.mktemp("volume")
    tiny_model.make(volume / "models" / MODEL_ID)
    return volume


class RunpodQueue:
    """Runpod's side of a worker: gives jobs, takes results, progress and pings; also the store, receiver and API v2."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stops: queue.Queue[str] = queue.Queue()
        self.results: dict[str, dict[str, Any]] = {}
        self.progress: dict[str, list[dict[str, Any]]] = {}
        self.events: list[Request] = []
        self.objects: dict[str, bytes] = {}
        self.control: list[Request] = []
        self.confirm: Callable[[Request], Answer] = lambda request: Answer(body=request.body)
        self.workers: list[dict[str, str]] = [{"id": "worker1", "status": "RUNNING"}]
        self.server = Server(self._answer)

    def add(self, job_id: str, job_input: dict[str, Any]) -> None:
        self._jobs.put({"id": job_id, "input": job_input})

    def job_input(self, task_id: str, *, count: int = 1, **params: Any) -> dict[str, Any]:
        """Build a job as the gateway does."""
        wanted = {"prompt": "a red fox", "width": 64, "height": 64, "steps": 4, "seed": 7, "num_images": count}
        return {
            "task_id": task_id,
            "model_id": MODEL_ID,
            "params": wanted | params,
            "uploads": [self.upload(f"{task_id}-{n}.png") for n in range(count)],
            "webhook_url": self.webhook_url,
        }

    def stop(self, job_id: str) -> None:
        self._stops.put(job_id)

    def upload(self, name: str) -> dict[str, Any]:
        return {
            "put_url": f"{self.server.url}/store/{name}?X-Amz-Signature={'ab' * 32}",
            "cdn_url": f"https://cdn/{name}",
        }

    @property
    def webhook_url(self) -> str:
        return f"{self.server.url}/webhook"

    def result(self, job_id: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        self.server.until(lambda _: job_id in self.results, limit_s)
        return self.results[job_id]

    def statuses(self, task_id: str) -> list[str]:
        found = [request.json()["data"] for request in self.events]
        return [data["status"] for data in found if data["task_id"] == task_id]

    def until_status(self, task_id: str, status: str, limit_s: float = LIMIT_S) -> None:
        self.server.until(lambda _: status in self.statuses(task_id), limit_s)

    def environment(self, volume: Path) -> dict[str, str]:
        base = f"{self.server.url}/runpod"
        return {
            "VISGATE_MODEL_ID": MODEL_ID,
            "VISGATE_VOLUME_PATH": str(volume),
            "VISGATE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": "rpa_WORKERKEYWORKERKEYWORKERKEY",
            "RUNPOD_API_KEY": "rpa_ENDPOINTKEYENDPOINTKEYENDP",
            "RUNPOD_API_URL": self.server.url,
            "RUNPOD_ENDPOINT_ID": "ep1",
            "RUNPOD_POD_ID": "worker1",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "HF_HUB_OFFLINE": "1",
        }

    def _answer(self, request: Request) -> Answer:
        parts = urlsplit(request.path).path.strip("/").split("/")
        match parts:
            case ["runpod", "job-take", *_]:
                return self._next(self._jobs, lambda job: job)
            case ["runpod", "job-stop", *_]:
                return self._next(self._stops, lambda job_id: {"jobsToStop": [job_id]})
            case ["runpod", "job-done", _, job_id]:
                body = request.json()
                if body.get("status") == "IN_PROGRESS":
                    self.progress.setdefault(job_id, []).append(body["output"])
                else:
                    self.results[job_id] = body
            case ["webhook"]:
                self.events.append(request)
            case ["store", name]:
                self.objects[name] = request.body
            case ["v2", "serverless", _]:
                self.control.append(request)
                return self.confirm(request)
            case ["v2", "serverless", _, "workers"]:
                return Answer(body=json.dumps({"workers": self.workers}).encode())
        return Answer()

    @staticmethod
    def _next(waiting: "queue.Queue[Any]", wrap: Callable[[Any], Any]) -> Answer:
        try:
            return Answer(body=json.dumps(wrap(waiting.get(timeout=0.3))).encode())
        except queue.Empty:
            return Answer(status=204)


@pytest.fixture(scope="module")
def runpod_queue() -> Iterator[RunpodQueue]:
    made = RunpodQueue()
    yield made
    made.server.close()


MODULE = ("-m", "visgate_worker")


class Worker:
    """A real worker process, its output collected."""

    def __init__(
        self, environ: dict[str, str], log: Path, *, command: Sequence[str] = ("-m", "visgate_worker")
    ) -> None:
        self.log = log
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env={**keep, "PYTHONDONTWRITEBYTECODE": "1", **environ},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def serving_pid(self) -> int:
        """Return the pid of the serving process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])

    def wait(self, limit_s: float = LIMIT_S) -> int:
        return self.process.wait(limit_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def fresh_queue() -> Iterator[RunpodQueue]:
    """A queue that no other test's worker takes jobs from."""
    made = RunpodQueue()
    yield made
    made.server.close()


@pytest.fixture(scope="session")
def worker_class() -> type[Worker]:
    """The class of worker processes, for fixtures of a wider scope than `start_worker`."""
    return Worker


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(environ: dict[str, str], **more: Any) -> Worker:
        workers.append(Worker(environ, tmp_path / f"worker-{len(workers)}.log", **more))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()
