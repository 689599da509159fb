"""A Runpod in memory with the client's surface, for the CRUD classes."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources import _session
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod._call import Call
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.catalog import CpuFilter, CpuType, DataCenter, GpuFilter, GpuType
from pulumi_visgate.runpod.models.common import Request
from pulumi_visgate.runpod.models.endpoint import Endpoint
from pulumi_visgate.runpod.models.template import Template
from pulumi_visgate.runpod.models.volume import NetworkVolume
from pulumi_visgate.runpod.pods import Pod

KEY = "rpa_UNITTESTUNITTESTUNIT"

_DEFAULTS: dict[str, dict[str, Any]] = {
    "endpoint": {
        "env": {},
        "ports": [],
        "dataCenterIds": [],
        "networkVolumes": [],
        "flashboot": "OFF",
        "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
    },
    "template": {
        "env": {},
        "ports": [],
        "args": "",
        "disk": 20,
        "mounts": {},
        "registry": None,
        "serverless": False,
        "public": False,
        "category": "NVIDIA",
        "startSsh": True,
        "startJupyter": True,
        "allowedCudaVersions": [],
    },
    "network_volume": {"type": "STANDARD"},
}
_GPU: dict[str, Any] = {"count": 1, "excludedTypes": [], "allowedCudaVersions": [], "minCudaVersion": None}
_LEVELS = ["NONE", "LOW", "MEDIUM", "HIGH"]
_MODELS: dict[str, Any] = {"endpoint": Endpoint, "template": Template, "network_volume": NetworkVolume}


class MemoryRunpod:
    """Keeps what is created, says what was asked, and fails on demand."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in _MODELS}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.after: dict[str, Exception] = {}
        self.pods: list[Pod] = []
        self.stock: dict[str, dict[str, str]] = {}
        self._ids = itertools.count(1)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        verb, _, rest = operation.partition("_")
        if verb == "list":
            return lambda: self._list(operation, rest.removesuffix("s"))
        return lambda *arguments: self._done(operation, getattr(self, f"on_{verb}")(rest, *arguments))

    def perform(self, call: Call[Any]) -> list[Pod]:
        assert call.operation_id == "listPods"
        return self.pods

    def on_create(self, kind: str, request: Request) -> Any:
        id_ = f"{kind}{next(self._ids)}"
        body = request.body()
        self.calls.append((f"create_{kind}", body))
        if kind == "endpoint":
            if gpu := body.get("gpu"):
                body["gpu"] = {
                    "count": 1,
                    "excludedTypes": [],
                    "allowedCudaVersions": [],
                    "minCudaVersion": None,
                    **gpu,
                }
            body["cpu"] = [{**cpu, "memory": 8} for cpu in body["cpu"]] if body.get("cpu") else None
        self.items[kind][id_] = {**_DEFAULTS[kind], **body, "id": id_}
        return self._model(kind, id_)

    def on_get(self, kind: str, id_: str) -> Any:
        self.calls.append((f"get_{kind}", {"id": id_}))
        return self._model(kind, id_)

    def on_update(self, kind: str, id_: str, request: Request) -> Any:
        body = request.body()
        self.calls.append((f"update_{kind}", body))
        there = self.items[kind][id_]
        if gpu := body.get("gpu"):
            cleared: dict[str, Any] = {"excludedTypes": []} if "pools" in gpu else {}
            body = {**body, "gpu": {**there["gpu"], **cleared, **gpu}}
        if workers := body.get("workers"):
            body = {**body, "workers": {**there["workers"], **workers}}
        there.update(body)
        return self._model(kind, id_)

    def on_delete(self, kind: str, id_: str) -> None:
        self.calls.append((f"delete_{kind}", {"id": id_}))
        if self.items[kind].pop(id_, None) is None:
            raise NotFound(404, "Not Found", "gone")

    def list_gpu_types(self, query: GpuFilter | None = None) -> list[GpuType]:
        self.calls.append(("list_gpu_types", query.params() if query else {}))
        pools = {
            "NVIDIA L4": ("ADA_24", 0.69),
            "NVIDIA RTX 4090": ("ADA_24", 1.1),
            "NVIDIA A5000": ("AMPERE_24", 0.58),
            "NVIDIA H100": (None, None),
        }
        fixed: dict[str, Any] = {"manufacturer": "NVIDIA", "memory": 24, "secure": True, "community": True}
        return [
            GpuType.model_validate(
                {
                    "id": id_,
                    "name": id_,
                    "pool": pool,
                    **fixed,
                    "maxCount": {"secure": 8, "community": 8},
                    "price": {"secure": 1, "community": 1, "serverless": usd},
                    **self._stock(id_),
                }
            )
            for id_, (pool, usd) in pools.items()
        ]

    def list_cpu_types(self, query: CpuFilter | None = None) -> list[CpuType]:
        self.calls.append(("list_cpu_types", query.params() if query else {}))
        fixed = {"group": "Gen 5", "vcpu": {"min": 2, "max": 32}, "ramGbPerVcpu": 2}
        price = {"securePerVcpu": 0.035, "serverlessPerVcpu": 0.045}
        return [CpuType.model_validate({"id": "cpu5c", "name": "c", **fixed, "price": price, **self._stock("cpu5c")})]

    def _stock(self, id_: str) -> dict[str, Any]:
        levels = self.stock.get(id_, {"EU-RO-1": "HIGH", "US-KS-2": "HIGH"})
        centers = [{"id": center, "name": center, "availability": level} for center, level in levels.items()]
        return {"availability": max(levels.values(), key=_LEVELS.index, default="NONE"), "dataCenters": centers}

    def list_data_centers(self) -> list[DataCenter]:
        self.calls.append(("list_data_centers", {}))
        tiers = {"EU-RO-1": ["STANDARD"], "US-KS-2": ["STANDARD", "HIGH_PERFORMANCE"], "US-XX-1": []}
        fixed = {"region": "EUROPE", "globalNetwork": False, "compliance": []}
        return [
            DataCenter.model_validate({"id": id_, "name": id_, "networkVolumeTypes": found, **fixed})
            for id_, found in tiers.items()
        ]

    def _list(self, operation: str, kind: str) -> list[Any]:
        self.calls.append((operation, {}))
        return [self._model(kind, id_) for id_ in self.items[kind]]

    def _done(self, operation: str, answer: Any) -> Any:
        if error := self.after.pop(operation, None):
            raise error
        return answer

    def _model(self, kind: str, id_: str) -> Any:
        if id_ not in self.items[kind]:
            raise NotFound(404, "Not Found", "gone")
        return _MODELS[kind].model_validate(self.items[kind][id_])


class Clock:
    """Moves only while somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class MemorySession(Session):
    """A session whose account lives in memory."""

    def __init__(self, memory: MemoryRunpod) -> None:
        super().__init__(Settings(runpod_api_key=SecretStr(KEY)))
        self.memory = memory
        clock = Clock()
        for listing in (self.endpoints, self.templates, self.volumes, self.registries, self.delegations):
            listing.now, listing.sleep = clock.now, clock.sleep

    @property
    def runpod(self) -> Any:
        return self.memory


@pytest.fixture
def memory() -> MemoryRunpod:
    return MemoryRunpod()


@pytest.fixture
def session(memory: MemoryRunpod) -> MemorySession:
    return MemorySession(memory)


@pytest.fixture
def shell_account(runpod_emulator: RunpodEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodClient]:
    """The environment of a shell with a key; sessions, and what they remember, end with the test."""
    for name, value in runpod_emulator.env.items():
        monkeypatch.setenv(name, value)
    sessions: dict[Any, Session] = {}
    monkeypatch.setattr(_session, "_sessions", sessions)
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        yield client
    for session in sessions.values():
        if session.settings.runpod_api_key:
            session.runpod.close()
