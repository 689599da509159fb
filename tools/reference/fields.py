"""Every input of the resources that Runpod's API v2 knows, with two values and what becomes of each.

The contract tests go through all rows against the emulator. `changes.py` gets its sample values from here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources.ecr_delegation import EcrDelegationCrud
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from pulumi_visgate.resources.registry_auth import RegistryAuthCrud
from pulumi_visgate.resources.template import TemplateCrud
from pulumi_visgate.resources.warm_pool import WarmPoolCrud
from visgate_contract.jobs import MODEL_ID_ENV, MODEL_REVISION_ENV


class Effect(StrEnum):
    """What another value, or none, does to a resource."""

    UPDATE = "update"
    REPLACE = "replace"
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Row:
    """One input.

    Args:
        input: Its name.
        value: A value.
        other: Another one.
        api: Path of the field that holds it, in the answer of the API; None for one that is never shown.
        cleared: What the API holds when the input is left out again; not looked at for `KEEP` and `REFUSE`.
        change: Effect of the other value.
        emptied: Effect of leaving it out.
        wire: The value as the API holds it.
        base: Inputs that go with it.
        without: Inputs of the resource's base that do not.
        instead: Inputs that take its place when it is left out.
        covers: More fields of requests that come from it.
        when: What kind of change this row is, where an input has several.
    """

    input: str
    value: Any
    other: Any
    api: str | None
    cleared: Any = None
    change: Effect = Effect.UPDATE
    emptied: Effect = Effect.UPDATE
    wire: Callable[[Any], Any] = lambda value: value
    base: Mapping[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    instead: Mapping[str, Any] = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    when: str = ""


@dataclass(frozen=True)
class Part:
    """Stands for a text that has this in it."""

    text: str


DERIVED = object()
"""Stands for the name that is derived from project, stack and resource."""

OWNER = "reference/dev/example"
"""Values that start with `$` are ids of something that has to be there: `$template1`, `$registry2`, `$volume1`."""


def _flavors(cpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": cpu["id"], "vcpuCount": cpu["vcpus"], "memory": 2 * cpu["vcpus"]} for cpu in cpus]


def _requests(count: int) -> dict[str, Any]:
    return {"type": "REQUEST_COUNT", "requestCount": count}


def _delay(seconds: float) -> dict[str, Any]:
    return {"type": "QUEUE_DELAY", "queueDelay": seconds}


def _milliseconds(seconds: int) -> int:
    return seconds * 1000


_R, _K, _X = Effect.REPLACE, Effect.KEEP, Effect.REFUSE
_GPU = frozenset({"gpu_pools"})
_CPU2, _CPU4 = {"id": "cpu5c", "vcpus": 2}, {"id": "cpu5c", "vcpus": 4}
_SCALING = ("scaling.type", "scaling.queueDelay", "scaling.requestCount")

ENDPOINT = (
    Row("name", "one", "two", "name", DERIVED),
    Row("image", "acme/worker:1", "acme/worker:2", "image", emptied=_X),
    Row("template_id", "$template1", "$template2", "image", "acme/own:1", without=frozenset({"image"}),
        wire=lambda value: f"acme/{value.strip('$')}:1", instead={"image": "acme/own:1"}, covers=("templateId",)),
    Row("env", {"A": "1", "B": "2"}, {"A": "2"}, "env", {}),
    Row("args", "--fast", "--slow", "args", ""),
    Row("container_disk_gb", 30, 40, "disk", emptied=_K),
    Row("ports", ["80/http", "22/tcp"], ["80/http"], "ports", []),
    Row("registry_id", "$registry1", "$registry2", "registry"),
    Row("gpu_pools", ["ADA_24"], ["AMPERE_24", "ADA_24"], "gpu.pools", emptied=_X),
    Row("excluded_gpu_types", ["NVIDIA L4"], ["NVIDIA GeForce RTX 3090"], "gpu.excludedTypes", [],
        base={"gpu_pools": ["AMPERE_24"]}),
    Row("gpus_per_worker", 2, 4, "gpu.count", 1),
    Row("allowed_cuda_versions", ["12.8", "12.6"], ["12.4"], "gpu.allowedCudaVersions", []),
    Row("min_cuda_version", "12.4", "12.8", "gpu.minCudaVersion"),
    Row("cpus", [_CPU2], [_CPU4, _CPU2], "cpu", wire=_flavors, without=_GPU, emptied=_R,
        instead={"gpu_pools": ["ADA_24"]}, covers=("cpu.id", "cpu.vcpuCount")),
    Row("min_workers", 1, 2, "workers.min", 0),
    Row("max_workers", 5, 7, "workers.max", 3),
    Row("idle_timeout_s", 30, 90, "workers.idleTimeout", 10),
    Row("queue_delay_s", 2, 8.5, "scaling", _delay(4), wire=_delay, covers=_SCALING),
    Row("request_count", 2, 5, "scaling", _delay(4), wire=_requests, covers=_SCALING),
    Row("routing", "LOAD_BALANCER", "QUEUE", "type", "QUEUE", base={"request_count": 2}, change=_R, emptied=_R),
    Row("execution_timeout_s", 600, 1200, "timeout", 300_000, wire=_milliseconds),
    Row("flashboot", "FLASHBOOT", "PRIORITY_FLASHBOOT", "flashboot", "OFF"),
    Row("data_center_ids", ["EU-RO-1", "US-KS-2"], ["EU-RO-1"], "dataCenterIds", []),
    Row("network_volume_ids", ["$volume1", "$volume2"], ["$volume2"], "networkVolumes", []),
)  # fmt: skip

TEMPLATE = (
    Row("name", "one", "two", "name", DERIVED),
    Row("image", "acme/worker:1", "acme/worker:2", "image", emptied=_X),
    Row("env", {"A": "1", "B": "2"}, {"A": "2"}, "env", {}),
    Row("args", "--fast", "--slow", "args", ""),
    Row("container_disk_gb", 30, 40, "disk", emptied=_K),
    Row("mount", {"size_gb": 20, "path": "/workspace"}, {"size_gb": 30, "path": "/data"}, "mounts.persistent",
        wire=lambda mount: {"size": mount["size_gb"], "path": mount["path"]}, emptied=_R,
        base={"serverless": False}, covers=("mounts.persistent.size", "mounts.persistent.path")),
    Row("ports", ["8888/http", "22/tcp"], ["22/tcp"], "ports", []),
    Row("registry_id", "$registry1", "$registry2", "registry"),
    Row("allowed_cuda_versions", ["12.8", "12.6"], ["12.4"], "allowedCudaVersions", []),
    Row("category", "CPU", "AMD", "category", "NVIDIA"),
    Row("serverless", False, True, "serverless", True),
    Row("public", True, False, "public", False),
    Row("start_ssh", True, False, "startSsh", False),
    Row("start_jupyter", True, False, "startJupyter", False),
)  # fmt: skip

VOLUME = (
    Row("name", "one", "two", "name", DERIVED),
    Row("size_gb", 20, 30, "size", emptied=_X),
    Row("size_gb", 30, 20, "size", emptied=_X, change=_R, when="when it shrinks"),
    Row("data_center", "EU-RO-1", "US-KS-2", "dataCenter", emptied=_X, change=_R),
    Row("tier", "STANDARD", "HIGH_PERFORMANCE", "type", emptied=_K, change=_R),
)

REGISTRY = (
    Row("name", "one", "two", "name", DERIVED, change=_R, emptied=_R),
    Row("username", "ada", "grace", None, change=_R, emptied=_X, covers=("username",)),
    Row("password", "first", "second", None, change=_R, emptied=_X, covers=("password",)),
)

_ARN = "arn:aws:ecr:us-east-2:123456789012:repository/acme/worker"
DELEGATION = (
    Row("name", "one", "two", "name", DERIVED, change=_R, emptied=_R),
    Row("repository_arn", _ARN, f"{_ARN}-next", "repository", change=_R, emptied=_X, covers=("resource",),
        wire=lambda arn: arn.partition(":repository/")[2]),
)  # fmt: skip

_NOT_OF_POOLS = {"routing", "template_id"}
_POOL_DEFAULTS: dict[str, Any] = {"idle_timeout_s": 60, "execution_timeout_s": 900_000}


def _window(least: int) -> list[dict[str, Any]]:
    return [{"start": "00:00", "end": "24:00", "timezone": "Europe/Berlin", "min_workers": least}]


def _pool_rows() -> Iterator[Row]:
    for row in ENDPOINT:
        if row.input in _POOL_DEFAULTS:
            yield replace(row, cleared=_POOL_DEFAULTS[row.input])
        elif row.input == "env":
            yield replace(row, wire=lambda env: {**env, MODEL_ID_ENV: "acme/tiny"}, cleared={MODEL_ID_ENV: "acme/tiny"})
        elif row.input == "min_workers":
            yield replace(row, base={"policy": "always_on"}, value=2, other=3, cleared=1)
        elif row.input not in _NOT_OF_POOLS:
            yield row


WARM_POOL = (
    *_pool_rows(),
    Row("model_id", "acme/tiny", "acme/large", f"env.{MODEL_ID_ENV}", change=_R, emptied=_X),
    Row("model_revision", "main", "v2", f"env.{MODEL_REVISION_ENV}"),
    Row("task", "image2img", "text2video", "name", Part("-text2img-"), change=_R, emptied=_R,
        wire=lambda task: Part(f"-{task}-")),
    Row("policy", "always_on", "on_demand", "workers.min", 0, wire=lambda policy: int(policy == "always_on")),
    Row("windows", _window(1), _window(2), "workers.min", base={"policy": "scheduled_warm"}, emptied=_X,
        wire=lambda windows: windows[0]["min_workers"]),
)  # fmt: skip

TABLE: dict[str, tuple[Row, ...]] = {
    "Endpoint": ENDPOINT,
    "Template": TEMPLATE,
    "NetworkVolume": VOLUME,
    "RegistryAuth": REGISTRY,
    "EcrDelegation": DELEGATION,
    "WarmPool": WARM_POOL,
}
BASES: dict[str, dict[str, Any]] = {
    "Endpoint": {"image": "acme/worker:1", "gpu_pools": ["ADA_24"]},
    "Template": {"image": "acme/worker:1"},
    "NetworkVolume": {"size_gb": 20, "data_center": "EU-RO-1", "delete_data": True},
    "RegistryAuth": {"username": "ada", "password": "first"},
    "EcrDelegation": {"repository_arn": _ARN},
    "WarmPool": {"model_id": "acme/tiny", "image": "acme/worker:1", "gpu_pools": ["ADA_24"]},
}
CRUDS: dict[str, type[Crud]] = {
    "Endpoint": EndpointCrud,
    "Template": TemplateCrud,
    "NetworkVolume": NetworkVolumeCrud,
    "RegistryAuth": RegistryAuthCrud,
    "EcrDelegation": EcrDelegationCrud,
    "WarmPool": WarmPoolCrud,
}


def inputs(resource: str, row: Row, value: Any) -> dict[str, Any]:
    """Return the inputs of a program that gives a row's input.

    Args:
        resource: Name of its class.
        row: The row.
        value: The value; None leaves the input out.
    """
    base = {name: kept for name, kept in BASES[resource].items() if name not in row.without}
    given = {**base, **row.base, row.input: value, "owner": OWNER}
    if value is None:
        given |= row.instead
    return {name: kept for name, kept in given.items() if kept is not None}
