"""A worker that is killed, or of no use: its job still ends as it should, and nothing is paid for nothing.

Everything is the product's and Runpod's own SDK, but the model, which draws nothing and needs no framework.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.local.receiver import Receiver, receiving
from tests.unit.worker.conftest import Answer, Request, Server
from visgate_contract.events import EventData, Status
from visgate_contract.signing import derive_webhook_secret, new_task_id

pytestmark = pytest.mark.chaos

T = TypeVar("T")

IMAGE = "tests/worker"
MODEL = "org/model"
SECRET = derive_webhook_secret("a signing key of a test platform", "0" * 64)
USD_PER_S = 1.1 / 3600  # of ADA_24 in the emulated catalog
WAIT_S = 90.0

IDLE_TIMEOUT_S = 1
IDLE_BOUND_S = 15.0
"""Seconds that may be billed beside a job: the idle timeout, a worker's end, and the start of one that was killed."""
CRASH_BOUND_S = 60.0
"""Seconds of one worker's price within which an endpoint that is of no use is stopped, once its failure shows."""

SERVE = """
import sys, time
from PIL import Image
from visgate_contract.capabilities import capability_of
from visgate_contract.events import LoadReport, RuntimeReport
from visgate_worker import serve
from visgate_worker.link import Loaded
from visgate_worker.model import LoadedModel

class Drawing:
    def __call__(self, prompt: str, height: int, width: int, num_inference_steps: int = 4, generator=None): ...

class Runtime:
    checker = None
    def class_of(self, pipeline): return Drawing
    def improve(self, check=None): return False
    def report(self): return RuntimeReport(name="eager", device="cpu", family="flux")
    def generate(self, batch, on_step):
        for step in range(1, batch[0].steps + 1):
            if batch[0].arguments["prompt"] == "broken":
                raise RuntimeError("nothing can be drawn")
            time.sleep(0.2)
            on_step(step)
        return [Image.new("RGB", (64, 64)) for _ in batch]

def load(start):
    start._is_running.wait()
    time.sleep(1)
    start._link.send(Loaded())
    report = LoadReport(source="volume", size_bytes=1, seconds=1.0)
    capability = capability_of({"_class_name": "FluxPipeline"})
    start.model.set_result(LoadedModel("org/model", Runtime(), capability, report, 0))

serve._Start._load = load
sys.exit(serve.main())
"""


class Store:
    """Object storage; an upload of a picture may be held."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.server = Server(self._answer)

    def _answer(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        if request.method == "PUT":
            self.objects[path] = request.body
            return Answer(before=(lambda: self.go_on.wait(WAIT_S)) if path.endswith(".png") else None)
        found = self.objects.get(path)
        return Answer(status=404) if found is None else Answer(body=found)

    def upload(self, name: str) -> dict[str, str]:
        return {"put_url": f"{self.server.url}/{name}", "cdn_url": f"https://cdn/{name}"}


@dataclass
class Account:
    """One account at the emulated Runpod, with one endpoint."""

    emulator: RunpodEmulator
    store: Store
    folder: Path
    endpoint: str = ""
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.emulator.key}"}
        self._client = httpx.Client(headers=headers, timeout=60, trust_env=False, verify=False)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, url: str, body: object = None) -> Any:
        answer = self._client.request(method, url, json=body)
        answer.raise_for_status()
        return answer.json()

    def make(self, serve: str, *, env: dict[str, str], minimum: int = 0, maximum: int = 1) -> None:
        script = self.folder / "serve_it.py"
        script.write_text(serve)
        run = f"sys.exit(main([sys.executable, {str(script)!r}]))"
        command = [sys.executable, "-c", f"import sys; from visgate_worker.__main__ import main; {run}"]
        self.emulator.map_image(IMAGE, command)
        body = {
            "name": "painter",
            "image": f"{IMAGE}:1",
            "type": "QUEUE",
            "gpu": {"pools": ["ADA_24"]},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
            "workers": {"min": minimum, "max": maximum, "idleTimeout": IDLE_TIMEOUT_S},
            "env": {"VISGATE_MODEL_ID": MODEL, "VISGATE_WEBHOOK_SECRET": SECRET, **env},
        }
        self.endpoint = self.call("POST", f"{self.emulator.api_url}/v2/serverless", body)["id"]

    def submit(self, webhook_url: str | None = None, prompt: str = "a red fox") -> str:
        task_id = new_task_id(datetime.now(UTC))
        job_input = {
            "task_id": task_id,
            "model_id": MODEL,
            "params": {"prompt": prompt, "steps": 6, "seed": 7},
            "uploads": [self.store.upload(f"{task_id}.png")],
            "webhook_url": webhook_url,
            "announced": True,
            "ledger": {name: f"{self.store.server.url}/{task_id}.json" for name in ("get_url", "put_url")},
        }
        url = f"{self.emulator.jobs_url}/{self.endpoint}/run"
        return str(self.call("POST", url, {"input": job_input})["id"])

    def until_over(self, job: str) -> str:
        url = f"{self.emulator.jobs_url}/{self.endpoint}/status/{job}"
        return until(lambda: over if (over := str(self.call("GET", url)["status"])) in {"COMPLETED", "FAILED"} else "")

    def kill(self) -> None:
        """Kill the one worker, its supervisor and all that these have started, as a machine that goes down would."""
        (worker,) = until(lambda: [one for one in self.emulator.workers(self.endpoint) if one["pid"]])
        family = [psutil.Process(worker["pid"]), *psutil.Process(worker["pid"]).children(recursive=True)]
        for process in family:
            process.kill()

    def billed_s(self) -> float:
        url = f"{self.emulator.api_url}/v2/billing/serverless?serverlessId={self.endpoint}"
        return float(self.call("GET", url)["metadata"]["totals"]["totalAmount"]) / USD_PER_S

    def until_quiet(self) -> float:
        """Wait until no worker is left, see that nothing is billed from then on, and return what was, in seconds."""
        until(lambda: not self.emulator.workers(self.endpoint))
        billed_s = self.billed_s()
        self.emulator.advance(86_400)
        assert self.billed_s() == pytest.approx(billed_s, abs=0.01)
        return billed_s


def until(probe: Callable[[], T]) -> T:
    """Wait until a call returns something true, and return that."""
    end = time.monotonic() + WAIT_S
    while not (found := probe()):
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.02)
    return found


@pytest.fixture
def account(runpod_emulator: RunpodEmulator, tmp_path: Path) -> Iterator[Account]:
    made = Account(runpod_emulator, Store(), tmp_path)
    yield made
    made.close()
    made.store.go_on.set()
    made.store.server.close()


def heard(receiver: Receiver, is_it: Callable[[EventData], bool], *, timeout_s: float = WAIT_S) -> list[EventData]:
    """Return what a receiver hears, up to an event."""
    found = []
    for delivery in receiver.deliveries(timeout_s=timeout_s):
        assert delivery.verified
        assert delivery.event is not None
        found.append(delivery.event.data)
        if is_it(found[-1]):
            break
    return found


LONG = {"starting", "telling", "idle"}
PHASES: dict[str, Callable[[EventData], bool]] = {
    "starting": lambda _: False,
    "loading": lambda data: data.status is Status.STARTED,
    "drawing": lambda data: data.progress is not None and data.progress.step > 0,
    "uploading": lambda data: data.progress is not None and data.progress.step > 0,
    "telling": lambda data: data.status is Status.READY,
    "idle": lambda data: data.status is Status.READY,
}


@pytest.mark.parametrize(
    "phase", [pytest.param(phase, marks=pytest.mark.long) if phase in LONG else phase for phase in PHASES]
)
def test_a_worker_that_is_killed_leaves_a_job_that_ends_as_it_should_and_no_idle_second(
    account: Account, phase: str
) -> None:
    account.make(SERVE, env={})
    if phase == "uploading":
        account.store.go_on.clear()
    with receiving(SECRET) as receiver:
        began = time.monotonic()
        job = account.submit(receiver.url)
        events = heard(receiver, PHASES[phase]) if phase != "starting" else []
        if phase == "uploading":
            account.store.server.until(lambda all_: any(one.path.endswith(".png") for one in all_))
        if phase == "idle":
            account.until_over(job)
        account.kill()
        account.store.go_on.set()
        assert account.until_over(job) == "COMPLETED"
        busy_s = time.monotonic() - began
        if not any(data.status.is_terminal for data in events):
            events += heard(receiver, lambda data: data.status.is_terminal)
        events += heard(receiver, lambda _: False, timeout_s=1.0)
    # A picture is there, told once by each attempt that lived to tell it, and nobody was told that it failed.
    assert [data.status for data in events if data.status.is_terminal] in ([Status.READY], [Status.READY] * 2)
    assert events[-1].status is Status.READY
    ends = [data.attempt for data in events if data.status.is_terminal]
    assert len(ends) == len(set(ends))
    assert sorted(data.sequence for data in events) == [data.sequence for data in events]
    if phase in {"loading", "drawing", "uploading"}:
        assert events[-1].attempt == 2
    assert any(path.endswith(".png") for path in account.store.objects)
    assert account.until_quiet() <= busy_s + IDLE_BOUND_S


@pytest.mark.parametrize(
    ("serve", "env", "jobs"),
    [
        ("import sys; sys.exit(3)", {}, 0),
        (SERVE, {"VISGATE_MAX_FAILURES": "few"}, 0),
        (SERVE, {"VISGATE_MAX_FAILURES": "2"}, 2),
    ],
    ids=["its process ends at once", "its environment is wrong", "every job fails"],
)
def test_an_endpoint_that_is_of_no_use_is_stopped_within_the_stated_cost(
    account: Account, serve: str, env: dict[str, str], jobs: int
) -> None:
    account.emulator.fault("status", operation="updateEndpoint", status=503, times=1)
    account.make(serve, env={"VISGATE_WATCHDOG_ACTION": "scale_to_zero", **env}, minimum=1)
    for job in [account.submit(prompt="broken") for _ in range(jobs)]:
        assert account.until_over(job) == "FAILED"
    url = f"{account.emulator.api_url}/v2/serverless/{account.endpoint}"
    until(lambda: account.call("GET", url)["workers"]["max"] == 0)
    assert account.until_quiet() <= CRASH_BOUND_S
