"""Endpoint inputs to API bodies and back, as pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any

from pulumi_visgate.resources._values import Properties
from pulumi_visgate.runpod.models.endpoint import Endpoint

FLASHBOOT_SUFFIX = " -fb"
"""Runpod adds it to the names of endpoints with FlashBoot."""
PLATFORM_ENV = frozenset({"PORT", "PORT_HEALTH"})
"""Runpod adds these to the environment of a load balancer."""
CONTAINER_INPUTS = frozenset({"image", "args", "container_disk_gb", "env", "ports", "registry_id"})
TEMPLATE_INPUTS = CONTAINER_INPUTS | {"allowed_cuda_versions"}
"""What a template fills in where the program is silent."""
_MS = 1000

_POOLS = {"gpu_pools", "excluded_gpu_types"}
_GPU_FIELDS = {
    "gpus_per_worker": "count",
    "allowed_cuda_versions": "allowed_cuda_versions",
    "min_cuda_version": "min_cuda_version",
}
_CUDA = {"allowed_cuda_versions", "min_cuda_version"}
_GPU = {*_POOLS, *_GPU_FIELDS}
_WORKERS = {"min_workers": "min", "max_workers": "max", "idle_timeout_s": "idle_timeout"}
_SCALING = {"queue_delay_s", "request_count"}


def request(values: Properties, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of `createEndpoint`; every default is spelled out, so that the API's own cannot surprise.

    Args:
        values: Checked inputs.
        env: Environment as the API gets it.
    """
    body = {api: value for api, value in _plain(values, env).values() if value not in (None, "", [])}
    if not env and values.get("template_id"):
        del body["env"]  # the template's own
    body["type"] = values["routing"]
    body["workers"] = {api: int(values[ours]) for ours, api in _WORKERS.items() if values.get(ours) is not None}
    body["scaling"] = _scaling(values)
    if values.get("cpus"):
        body["cpu"] = _cpus(values)
    else:
        body["gpu"] = {name: value for name, value in _gpu(values).items() if value not in ([], "")}
    return body


def patch(changed: Iterable[str], values: Properties, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of `updateEndpoint`: what changed, and what the API ties to it.

    A `gpu` with pools and without exclusions clears the exclusions, so the two always travel together.

    Args:
        changed: Names of the inputs that differ.
        values: Checked inputs.
        env: Environment as the API gets it.
    """
    names = set(changed)
    if "template_id" in names:
        # A template overwrites all that is not named with it; without one everything is the program's again.
        names |= {name for name in TEMPLATE_INPUTS if values.get(name) or not values.get("template_id")}
        names |= {"env"} if env else set()
    if not values.get("template_id"):
        names.discard("template_id")
    body = {api: value for ours, (api, value) in _plain(values, env).items() if ours in names}
    if workers := {api: int(values[ours]) for ours, api in _WORKERS.items() if ours in names and ours in values}:
        body["workers"] = workers
    if names & _SCALING:
        body["scaling"] = _scaling(values)
    if names & _GPU and values.get("gpu_pools"):
        body["gpu"] = _gpu(values) if names & _POOLS else _only(names, values)
    if "cpus" in names and values.get("cpus"):
        body["cpu"] = _cpus(values)
    return body


def foreign_env(there: Mapping[str, str], known: Iterable[str], values: Properties) -> dict[str, str]:
    """Return the variables that are not the program's: those of a template, or what Runpod gives a load balancer.

    Args:
        there: Environment as the API reports it.
        known: Names that the program sets, or has set.
        values: Inputs.
    """
    mine = set(known)
    balancer = values.get("routing") == "LOAD_BALANCER"
    return {
        name: value
        for name, value in there.items()
        if name not in mine and (values.get("template_id") or (balancer and name in PLATFORM_ENV))
    }


def _plain(values: Properties, env: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Our name to the API's name and value; the value of what was not given is the one that clears it."""
    disk = values.get("container_disk_gb")
    return {
        "name": ("name", values.get("name")),
        "image": ("image", values.get("image")),
        "template_id": ("template_id", values.get("template_id")),
        "env": ("env", dict(env)),
        "args": ("args", values.get("args") or ""),
        "container_disk_gb": ("disk", int(disk) if disk else None),
        "ports": ("ports", values.get("ports") or []),
        "registry_id": ("registry", values.get("registry_id")),
        "data_center_ids": ("data_center_ids", values.get("data_center_ids") or []),
        "network_volume_ids": ("network_volumes", values.get("network_volume_ids") or []),
        "flashboot": ("flashboot", values.get("flashboot")),
        "execution_timeout_s": ("timeout", int(values["execution_timeout_s"]) * _MS),
    }


def observed_inputs(endpoint: Endpoint, props: Properties) -> dict[str, Any]:
    """Return the inputs that would make this endpoint, all but its environment.

    Args:
        endpoint: What the API reports.
        props: What was known before; the API does not report the template an endpoint was made from.
    """
    name = endpoint.name
    if name != props.get("name"):
        name = name.removesuffix(FLASHBOOT_SUFFIX)
    scaling = endpoint.scaling
    values: dict[str, Any] = {
        "name": name,
        "image": endpoint.image,
        "template_id": props.get("template_id"),
        "args": endpoint.args,
        "container_disk_gb": endpoint.disk,
        "ports": endpoint.ports,
        "registry_id": endpoint.registry,
        "min_workers": endpoint.workers.min,
        "max_workers": endpoint.workers.max,
        "idle_timeout_s": endpoint.workers.idle_timeout,
        "queue_delay_s": getattr(scaling, "queue_delay", None),
        "request_count": getattr(scaling, "request_count", None),
        "routing": str(endpoint.type),
        "execution_timeout_s": _seconds(endpoint.timeout),
        "flashboot": str(endpoint.flashboot),
        "data_center_ids": endpoint.data_center_ids,
        "network_volume_ids": endpoint.network_volumes,
    }
    if values["request_count"] and values["routing"] == "QUEUE":
        del values["idle_timeout_s"]  # does not apply there
    if endpoint.gpu:
        values |= {
            "gpu_pools": endpoint.gpu.pools,
            "excluded_gpu_types": endpoint.gpu.excluded_types,
            "gpus_per_worker": endpoint.gpu.count,
            "allowed_cuda_versions": endpoint.gpu.allowed_cuda_versions,
            "min_cuda_version": endpoint.gpu.min_cuda_version,
        }
    if endpoint.cpu:
        values["cpus"] = [{"id": cpu.id, "vcpus": cpu.vcpu_count} for cpu in endpoint.cpu]
    return values


def _seconds(milliseconds: int) -> int | float:
    whole, rest = divmod(milliseconds, _MS)
    return milliseconds / _MS if rest else whole


def _scaling(values: Properties) -> dict[str, Any]:
    if values.get("request_count"):
        return {"type": "REQUEST_COUNT", "request_count": int(values["request_count"])}
    return {"type": "QUEUE_DELAY", "queue_delay": float(values["queue_delay_s"])}


def _gpu(values: Properties) -> dict[str, Any]:
    gpu = {
        "pools": values["gpu_pools"],
        "excluded_types": values.get("excluded_gpu_types") or [],
        "count": int(values.get("gpus_per_worker") or 1),
        "allowed_cuda_versions": values.get("allowed_cuda_versions") or [],
        "min_cuda_version": values.get("min_cuda_version") or "",
    }
    if values.get("template_id") and not values.get("allowed_cuda_versions") and not values.get("min_cuda_version"):
        del gpu["allowed_cuda_versions"]  # the template's own
    return gpu


def _only(names: set[str], values: Properties) -> dict[str, Any]:
    if names & _CUDA and values.get("template_id"):
        names = names | _CUDA  # a template may have set the one that excludes the other
    gpu = _gpu(values)
    return {field: gpu[field] for ours, field in _GPU_FIELDS.items() if ours in names and field in gpu}


def _cpus(values: Properties) -> list[dict[str, Any]]:
    return [{"id": cpu["id"], "vcpu_count": int(cpu["vcpus"])} for cpu in values["cpus"]]
