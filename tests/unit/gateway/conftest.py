import asyncio
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from pulumi_visgate.gateway.state import Clients
from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.testing import HubMirror
from pulumi_visgate.runpod._policy import shared_quota
from tests.handled import Handled
from visgate_contract.ledger import Ledger, ledger_key

KEY = "rpa_CANARYKEY0000000000000000000001"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
MODEL = "visgate/tiny-sd"
HUB = "http://hub.test:1"


class FakeRunpod:
    """Runpod as far as the gateway's unit tests need it: both planes behind one transport, counted and breakable."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.volumes: list[dict[str, Any]] = []
        self.gpus: list[dict[str, Any]] = []
        self.spent_usd = 0.0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, int] = {}
        self.logs: dict[str, list[tuple[str, str]]] = {}
        self.log_source = "container"
        self.worker_status = "IDLE"
        self.calls: Counter[str] = Counter()
        self.bodies: dict[str, list[Any]] = {}
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.before: Callable[[str], Any] | None = None
        self._ids = itertools.count(1)

    def transport(self) -> Handled:
        return Handled(self.handle)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        operation, parts = self._operation(request)
        self.calls[operation] += 1
        if request.content:
            self.bodies.setdefault(operation, []).append(json.loads(request.content))
        if self.before is not None:
            self.before(operation)
        fixed = self.answers.get(operation)
        if isinstance(fixed, Exception):
            raise fixed
        if fixed is not None:
            return httpx.Response(fixed.status_code, headers=fixed.headers, content=fixed.content)
        return getattr(self, f"_{operation}")(request, *parts)  # type: ignore[no-any-return]

    @staticmethod
    def _operation(request: httpx.Request) -> tuple[str, list[str]]:
        host, parts = request.url.host, request.url.path.strip("/").split("/")[1:]
        if host == "jobs.test":
            return parts[1].replace("-", "_"), [parts[0], *parts[2:]]
        names = {
            ("GET", 1): "list_endpoints",
            ("POST", 1): "create_endpoint",
            ("GET", 2): "get_endpoint",
            ("PATCH", 2): "update_endpoint",
            ("DELETE", 2): "delete_endpoint",
            ("GET", 3): "list_workers",
            ("GET", 5): "worker_logs",
        }
        if parts[0] == "network-volumes":
            return "list_volumes", []
        if parts[0] == "catalog":
            return "list_gpu_types", []
        if parts[0] == "billing":
            return "list_billing", []
        return names[request.method, len(parts)], parts[1:]

    def add(self, body: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        endpoint = {
            "id": f"ep{number}",
            "createdAt": f"2026-11-01T00:00:{number:02d}Z",
            "env": {},
            "dataCenterIds": [],
            "networkVolumes": [],
            "timeout": 1000,
            "flashboot": "OFF",
            **body,
        }
        if "gpu" in endpoint:
            endpoint["gpu"] = {"allowedCudaVersions": [], "minCudaVersion": None, **endpoint["gpu"]}
        self.endpoints[endpoint["id"]] = endpoint
        return endpoint

    def start_worker(self, endpoint_id: str) -> None:
        self.workers[endpoint_id] = self.workers.get(endpoint_id, 0) + 1

    def _list_endpoints(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"endpoints": list(self.endpoints.values())})

    def _create_endpoint(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=self.add(json.loads(request.content)))

    def _get_endpoint(self, _: httpx.Request, endpoint_id: str) -> httpx.Response:
        found = self.endpoints.get(endpoint_id)
        return httpx.Response(200, json=found) if found else missing()

    def _update_endpoint(self, request: httpx.Request, endpoint_id: str) -> httpx.Response:
        self.endpoints[endpoint_id].update(json.loads(request.content))
        return httpx.Response(200, json=self.endpoints[endpoint_id])

    def _delete_endpoint(self, _: httpx.Request, endpoint_id: str) -> httpx.Response:
        return httpx.Response(204) if self.endpoints.pop(endpoint_id, None) else missing()

    def _list_workers(self, _: httpx.Request, endpoint_id: str, *__: str) -> httpx.Response:
        if endpoint_id not in self.endpoints:
            return missing()
        workers = [{"id": name, "status": self.worker_status, "isStale": False, "gpuCount": 1} for name in self.logs]
        counts = {"running": 0, "idle": len(workers), "initializing": 0, "throttled": 0, "unhealthy": 0}
        return httpx.Response(200, json={"workers": workers, "summary": {**counts, "total": len(workers)}})

    def _worker_logs(self, request: httpx.Request, _: str, __: str, worker_id: str, ___: str) -> httpx.Response:
        lines = self.logs.get(worker_id)
        if not lines:
            return missing()
        last = request.headers.get("Last-Event-ID", "")
        fresh = [(ts, line) for ts, line in lines if ts > last]
        if not fresh:
            return missing()
        text = "".join(
            f"id: {ts}\ndata: {json.dumps({'source': self.log_source, 'line': line, 'ts': ts.partition('/')[0]})}\n\n"
            for ts, line in fresh
        )
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)

    def _list_volumes(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"networkVolumes": self.volumes})

    def _list_gpu_types(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"gpus": self.gpus})

    def _list_billing(self, _: httpx.Request) -> httpx.Response:
        amounts = dict.fromkeys(("gpuAmount", "cpuAmount", "diskAmount", "feeAmount"), 0.0)
        span = {"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-11-02T00:00:00Z"}
        totals = {**amounts, "gpuAmount": self.spent_usd, "totalAmount": self.spent_usd}
        metadata = {"query": {**span, "bucketSize": "day"}, "recordCount": 0, "totals": totals}
        return httpx.Response(200, json={"records": [], "metadata": metadata})

    def offer_gpu(self, pool: str, memory_gb: int, usd: float, **stock: str) -> None:
        """Put a GPU type into the catalog; stock by data center, with underscores for dashes."""
        self.gpus.append(
            {
                "id": f"NVIDIA {pool}",
                "name": pool,
                "pool": pool,
                "manufacturer": "NVIDIA",
                "memory": memory_gb,
                "secure": True,
                "community": True,
                "price": {"secure": usd, "community": usd, "serverless": usd},
                "maxCount": {"secure": 8, "community": 8},
                "availability": max(stock.values(), default="NONE"),
                "dataCenters": [
                    {"id": center.replace("_", "-"), "name": center, "availability": level}
                    for center, level in stock.items()
                ],
                "cudaVersions": [],
            }
        )

    def _run(self, request: httpx.Request, endpoint_id: str) -> httpx.Response:
        if endpoint_id not in self.endpoints:
            return missing()
        job_id = f"job{next(self._ids)}-u1"
        self.jobs[job_id] = {"id": job_id, "status": "IN_QUEUE", "input": json.loads(request.content)["input"]}
        return httpx.Response(200, json={"id": job_id, "status": "IN_QUEUE"})

    def _status(self, _: httpx.Request, __: str, job_id: str) -> httpx.Response:
        job = self.jobs.get(job_id)
        if job is None:
            return missing()
        return httpx.Response(200, json={key: value for key, value in job.items() if key != "input"})

    def _cancel(self, _: httpx.Request, __: str, job_id: str) -> httpx.Response:
        self.jobs[job_id]["status"] = "CANCELLED"
        return httpx.Response(200, json={"id": job_id, "status": "CANCELLED"})

    def _retry(self, _: httpx.Request, __: str, job_id: str) -> httpx.Response:
        self.jobs[job_id].update(status="IN_QUEUE", output=None, error=None)
        return httpx.Response(200, json={"id": job_id, "status": "IN_QUEUE"})

    def _health(self, _: httpx.Request, endpoint_id: str) -> httpx.Response:
        if endpoint_id not in self.endpoints:
            return missing()
        workers = {"idle": self.workers.get(endpoint_id, 0), "ready": self.workers.get(endpoint_id, 0)}
        return httpx.Response(200, json={"jobs": {}, "workers": workers})


class Bucket:
    """The platform's bucket as far as the gateway's own requests need it; may be told to fail."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.status: int | None = None
        self.calls: Counter[str] = Counter()

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.calls[request.method] += 1
        assert "X-Amz-Signature" in request.url.params
        if self.status is not None:
            return httpx.Response(self.status)
        key = request.url.path.removeprefix("/artifacts/")
        found = self.objects.get(key)
        if request.method == "PUT":
            must_be, must_not = request.headers.get("if-match"), request.headers.get("if-none-match")
            if (must_not and found is not None) or (must_be and (found is None or must_be != _version(found))):
                return httpx.Response(412)
            self.objects[key] = request.content
            return httpx.Response(200, headers={"etag": _version(request.content)})
        if found is None:
            return httpx.Response(404)
        return httpx.Response(200, content=found, headers={"etag": _version(found)})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    def ledger(self) -> Ledger:
        """Return the one ledger in it."""
        (key,) = (name for name in self.objects if name.startswith(".visgate/ledger/") and "/keys/" not in name)
        return Ledger.model_validate_json(self.objects[key])

    def keep(self, user: str, ledger: Ledger) -> None:
        """Put a ledger into it, as a worker of this user would."""
        self.objects[ledger_key(user[:16], ledger.task_id)] = ledger.body()


def _version(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def missing() -> httpx.Response:
    return problem(404, "not found")


def problem(status: int, detail: str, **headers: str) -> httpx.Response:
    body = {"title": "Error", "status": status, "detail": detail}
    return httpx.Response(status, headers=headers, json=body)


@pytest.fixture
def runpod() -> FakeRunpod:
    return FakeRunpod()


@pytest.fixture(autouse=True)
def _fresh_quotas() -> None:
    shared_quota.cache_clear()


NewSettings = Callable[..., Settings]


@pytest.fixture
def new_settings() -> NewSettings:
    def make(**changes: Any) -> Settings:
        given: dict[str, Any] = {
            "public_url": "http://gateway.test",
            "signing_key": SIGNING_KEY,
            "runpod_api_url": "http://api.test",
            "runpod_jobs_url": "http://jobs.test/v2",
            "runpod_timeout_s": 2.0,
            "image": "visgate-worker:test",
            "gpu_pools": ("ADA_24", "AMPERE_48"),
            "data_center_ids": ("EU-RO-1", "EU-CZ-1", "US-TX-3"),
            "models": (OfferedModel(model_id=MODEL),),
            "bucket": "artifacts",
            "s3_endpoint": "http://s3.test",
            "s3_access_key_id": "AKIAEXAMPLEEXAMPLE00",
            "s3_secret_access_key": "s3-secret-canary-000000000000",
            "cdn_base_url": "http://cdn.test/artifacts",
            "hf_endpoint": HUB,
            "allow_loopback": True,
            "rate_per_user": "1000/second",
            "rate_per_ip": "1000/second",
        }
        return Settings(**{**given, **changes})

    return make


Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def hub(tmp_path: Path) -> HubMirror:
    """A hub that has the model of these tests."""
    folder = tmp_path / "hub"
    folder.mkdir()
    mirror = HubMirror(folder, ports=(1, 2))
    mirror.commit(MODEL, testing.model())
    return mirror


@pytest.fixture
def serve(runpod: FakeRunpod, hub: HubMirror, new_settings: NewSettings, bucket: Bucket) -> Serve:
    """The application in this process, without a network: `async with serve() as client`."""

    @asynccontextmanager
    async def serving(
        *, clients: Clients | None = None, key: str = KEY, **changes: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        to_hub = httpx.AsyncClient(transport=httpx.ASGITransport(testing.FaultyHub(hub)), follow_redirects=True)
        ways = clients or Clients(runpod=runpod.transport())
        given = replace(ways, hub=to_hub, store=ways.store or bucket.client())
        app = create_app(new_settings(**changes), clients=given)
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            to_hub,
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as client,
        ):
            yield client

    return serving
