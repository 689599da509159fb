import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Artifact, Event, EventData, EventError, Progress, Status
from visgate_contract.tasks import Task

KEY = "rpa_TESTKEYTESTKEYTESTKEY00"
PICTURE = b"\x89PNG not really" * 100
TASK_ID = "task_" + "0" * 26


def make_event(sequence: int, status: Status, **more: Any) -> Event:
    data = EventData(task_id=TASK_ID, sequence=sequence, status=status, model_id="m/x", task=Task.TEXT2IMG, **more)
    return Event.of(data, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


def make_artifact(url: str, picture: bytes = PICTURE) -> Artifact:
    return Artifact(
        url=url,
        content_type="image/png",
        width=64,
        height=64,
        size_bytes=len(picture),
        sha256=hashlib.sha256(picture).hexdigest(),
        seed=7,
    )


def a_good_job(picture_url: str) -> list[Event]:
    return [
        make_event(0, Status.PROVISIONING),
        make_event(1, Status.STARTED),
        make_event(2, Status.PROGRESS, progress=Progress(step=4, steps=8)),
        make_event(3, Status.READY, artifacts=(make_artifact(picture_url),)),
    ]


def a_failed_job() -> list[Event]:
    error = EventError(code=ErrorCode.GENERATION_FAILED, detail="The GPU is out of memory.", hint="Ask for less.")
    return [make_event(0, Status.PROVISIONING), make_event(1, Status.FAILED, error=error)]


@dataclass
class FakeGateway:
    """A gateway that says what a test wants; one stream may break in the middle."""

    events: list[Event] = field(default_factory=list)
    problem: tuple[int, dict[str, Any]] | None = None
    break_after: int | None = None
    picture: bytes = PICTURE
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        self.requests.append((method, path, headers, body))
        if path == "/picture.png":
            return 200, "image/png", self.picture
        if self.problem is not None:
            return self.problem[0], "application/problem+json", json.dumps(self.problem[1]).encode()
        if (method, path) == ("POST", "/v1/jobs"):
            answer = {"status": "accepted_cold", "task_id": TASK_ID, "job_id": "job_e_j_0", "links": {}}
            answer |= {"endpoint_id": "e", "model": "m/x", "task": "text2img"}
            return 202, "application/json", json.dumps(answer).encode()
        if path == "/v1/jobs/job_e_j_0/events":
            return 200, "text/event-stream", self._stream(int(headers.get("last-event-id", -1)))
        return 404, "text/plain", b"what?"

    def _stream(self, last: int) -> bytes:
        sent = [event for event in self.events if event.data.sequence > last]
        if self.break_after is not None:
            sent, self.break_after = sent[: self.break_after], None
        text = ": connected\nretry: 2000\n\n"
        for event in sent:
            text += f"event: {event.type}\nid: {event.data.sequence}\ndata: {event.body().decode()}\n\n"
        return text.encode()


@pytest.fixture
def fake_gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, kind, content = fake.answer(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture
def visgate(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., int]:
    """Runs the command line in an empty folder with a key; returns its exit status."""
    from pulumi_visgate.cli import main

    for name in ("VISGATE_HOME", "VISGATE_GATEWAY_URL", "RUNPOD_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["visgate", *arguments])
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    return run


@pytest.fixture
def good_gateway(fake_gateway: FakeGateway) -> FakeGateway:
    fake_gateway.events = a_good_job(f"{fake_gateway.url}/picture.png")
    return fake_gateway


@pytest.fixture
def failing_gateway(fake_gateway: FakeGateway) -> FakeGateway:
    fake_gateway.events = a_failed_job()
    return fake_gateway


@pytest.fixture
def artifact() -> Artifact:
    return make_artifact("https://cdn.test/0.png")
