"""Rules of serverless endpoints that a schema cannot express, and how requests become configurations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_visgate.local.emulator.calls import Call
from pulumi_visgate.local.emulator.catalog import CPUS, DATA_CENTERS, GPUS, POOLS
from pulumi_visgate.local.emulator.control.templates import DEFAULT_DISK_GB, readable, require_registry
from pulumi_visgate.local.emulator.errors import bad_request, unprocessable
from pulumi_visgate.local.emulator.store import Doc, Kind

DEFAULT_IDLE_S = 10
DEFAULT_MAX_WORKERS = 3
DEFAULT_TIMEOUT_MS = 300_000
CONTAINER = ("image", "args", "disk", "ports", "env", "registry")

RELEASED = {
    "image": "template.imageName",
    "args": "template.dockerArgs",
    "disk": "template.containerDiskInGb",
    "ports": "template.ports",
    "env": "template.env",
    "registry": "template.containerRegistryAuthId",
    "dataCenterIds": "locations",
    "networkVolumes": "networkVolumeIds",
    "flashboot": "flashBootType",
    "cpu": "instanceIds",
}
"""Fields whose change makes a release, and how a release names them; parts of `gpu` come with them."""

_RELEASED_GPU = {
    "pools": "gpuIds",
    "excludedTypes": "excludedGpuTypes",
    "count": "gpuCount",
    "allowedCudaVersions": "allowedCudaVersions",
    "minCudaVersion": "minCudaVersion",
}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the job plane of an emulator is."""

    jobs: str

    def of(self, identifier: str, endpoint_type: str) -> Doc:
        """Return the request URLs of an endpoint."""
        base = f"{self.jobs}/{identifier}"
        if endpoint_type == "LOAD_BALANCER":
            return {"base": base, "health": f"{base}/ping"}
        return {
            "run": f"{base}/run",
            "runSync": f"{base}/runsync",
            "status": f"{base}/status/{{job_id}}",
            "stream": f"{base}/stream/{{job_id}}",
            "cancel": f"{base}/cancel/{{job_id}}",
            "retry": f"{base}/retry/{{job_id}}",
            "purgeQueue": f"{base}/purge-queue",
            "health": f"{base}/health",
        }


def with_template(call: Call, body: Doc) -> Doc:
    """Return the body with the container settings of its template filled in; the body wins, env is merged.

    Raises:
        Problem: 404 for an unknown template, 422 for one that is not serverless.
    """
    identifier = body.pop("templateId", None)
    if identifier is None:
        return body
    template = readable(call, identifier)
    if not template["serverless"]:
        raise unprocessable([f"templateId: template {identifier!r} is not a serverless template"])
    filled = {**{name: template[name] for name in CONTAINER}, **body}
    filled["env"] = {**template["env"], **body.get("env", {})}
    gpu = filled.get("gpu")
    if gpu is not None and "allowedCudaVersions" not in gpu and not gpu.get("minCudaVersion"):
        filled["gpu"] = {**gpu, "allowedCudaVersions": template["allowedCudaVersions"]}
    return filled


def new_endpoint(body: Doc) -> Doc:
    """Return the configuration of a new endpoint with the server's defaults, without id, URLs and time.

    Raises:
        Problem: 400.
    """
    if ("gpu" in body) == ("cpu" in body):
        detail = "exactly one of gpu and cpu is required"
        raise bad_request(detail)
    workers = body.get("workers", {})
    doc: Doc = {
        "name": body["name"],
        "type": body["type"],
        "image": body["image"],
        "args": body.get("args", ""),
        "disk": body.get("disk", DEFAULT_DISK_GB),
        "ports": body.get("ports", []),
        "env": body.get("env", {}),
        "registry": body.get("registry"),
        "workers": {"min": workers.get("min", 0), "max": workers.get("max", DEFAULT_MAX_WORKERS)},
        "scaling": body["scaling"],
        "dataCenterIds": body.get("dataCenterIds", []),
        "networkVolumes": body.get("networkVolumes", []),
        "timeout": body.get("timeout", DEFAULT_TIMEOUT_MS),
        "flashboot": body.get("flashboot", "OFF"),
    }
    if "gpu" in body:
        doc["gpu"] = _gpu({"count": 1, "allowedCudaVersions": [], "minCudaVersion": None}, body["gpu"])
    else:
        doc["cpu"] = [_cpu(choice) for choice in body["cpu"]]
    _set_idle(doc, workers.get("idleTimeout"))
    return doc


def changed_endpoint(old: Doc, body: Doc) -> Doc:
    """Return the configuration after a PATCH.

    Raises:
        Problem: 400.
    """
    family = "gpu" if old.get("gpu") is not None else "cpu"
    other = "cpu" if family == "gpu" else "gpu"
    if other in body:
        detail = f"{other}: a {family} endpoint cannot become a {other} endpoint"
        raise bad_request(detail)
    new: Doc = {**old, **{name: value for name, value in body.items() if name not in {"gpu", "cpu", "workers"}}}
    if "gpu" in body:
        new["gpu"] = _gpu(old["gpu"], body["gpu"])
    if "cpu" in body:
        new["cpu"] = [_cpu(choice) for choice in body["cpu"]]
    workers = body.get("workers", {})
    new["workers"] = {name: workers.get(name, old["workers"][name]) for name in ("min", "max")}
    _set_idle(new, workers.get("idleTimeout"), old["workers"].get("idleTimeout"))
    return new


def check_endpoint(call: Call, doc: Doc) -> None:
    """Check a whole configuration against the account and the catalog.

    Raises:
        Problem: 400 that names the field.
    """
    if not doc["image"]:
        detail = "image: must not be empty"
        raise bad_request(detail)
    if doc["workers"]["min"] > doc["workers"]["max"]:
        detail = f"workers.min: {doc['workers']['min']} is more than workers.max {doc['workers']['max']}"
        raise bad_request(detail)
    if doc["timeout"] < 0:
        detail = "timeout: must not be negative"
        raise bad_request(detail)
    if doc["type"] == "LOAD_BALANCER" and doc["scaling"]["type"] != "REQUEST_COUNT":
        detail = "scaling: a LOAD_BALANCER endpoint scales on REQUEST_COUNT only"
        raise bad_request(detail)
    _check_known("dataCenterIds", doc["dataCenterIds"], DATA_CENTERS, "data center")
    _check_volumes(call, doc)
    require_registry(call, doc["registry"])


def release_diff(old: Doc, new: Doc) -> list[Doc]:
    """Return what a release changes, empty when the change needs none."""
    diff = [
        {"field": label, "old": old.get(name), "new": new.get(name)}
        for name, label in RELEASED.items()
        if old.get(name) != new.get(name)
    ]
    before, after = old.get("gpu") or {}, new.get("gpu") or {}
    diff += [
        {"field": label, "old": before.get(name), "new": after.get(name)}
        for name, label in _RELEASED_GPU.items()
        if before.get(name) != after.get(name)
    ]
    return diff


def _gpu(old: Doc, given: Doc) -> Doc:
    new = {**old, **given}
    if "pools" in given:
        new["excludedTypes"] = [name.strip() for name in given.get("excludedTypes", [])]
    new["minCudaVersion"] = new.get("minCudaVersion") or None
    if new["minCudaVersion"] and new["allowedCudaVersions"]:
        detail = "gpu: allowedCudaVersions and minCudaVersion exclude each other"
        raise bad_request(detail)
    _check_known("gpu.pools", new["pools"], POOLS, "serverless GPU pool")
    members = [name for pool in new["pools"] for name in POOLS[pool]]
    for name in new["excludedTypes"]:
        if name not in members:
            detail = f"gpu.excludedTypes: {name!r} is not a GPU type of the pools {', '.join(new['pools'])}"
            raise bad_request(detail)
    if not set(members) - set(new["excludedTypes"]):
        detail = "gpu.excludedTypes: nothing is left of the pools"
        raise bad_request(detail)
    most = max(max(GPUS[name].max_count) for name in members)
    if new["count"] > most:
        detail = f"gpu.count: no machine of these pools has more than {most} GPUs"
        raise bad_request(detail)
    return new


def _cpu(choice: Doc) -> Doc:
    _check_known("cpu.id", [choice["id"]], CPUS, "CPU flavor")
    flavour = CPUS[choice["id"]]
    vcpu = choice["vcpuCount"]
    if vcpu & (vcpu - 1) or vcpu > flavour.max_vcpu:
        detail = f"cpu.vcpuCount: must be a power of two from 2 to {flavour.max_vcpu} for {flavour.id}"
        raise bad_request(detail)
    return {"id": flavour.id, "vcpuCount": vcpu, "memory": int(vcpu * flavour.ram_gb_per_vcpu)}


def _set_idle(doc: Doc, given: int | None, kept: int | None = None) -> None:
    if doc["type"] == "QUEUE" and doc["scaling"]["type"] == "REQUEST_COUNT":
        if given is not None:
            detail = "workers.idleTimeout: does not apply to a QUEUE endpoint that scales on REQUEST_COUNT"
            raise bad_request(detail)
        return
    doc["workers"]["idleTimeout"] = given if given is not None else kept or DEFAULT_IDLE_S


def _check_known(field: str, names: Sequence[str], known: Any, noun: str) -> None:
    for name in names:
        if name not in known:
            detail = f"{field}: there is no {noun} {name!r}; known ones are {', '.join(known)}"
            raise bad_request(detail)


def _check_volumes(call: Call, doc: Doc) -> None:
    centers: dict[str, str] = {}
    for identifier in doc["networkVolumes"]:
        volume = call.emulator.store.get(Kind.VOLUME, identifier, call.account)
        if volume is None:
            detail = f"networkVolumes: there is no network volume {identifier!r}"
            raise bad_request(detail)
        center = volume.doc["dataCenter"]
        if center in centers:
            detail = f"networkVolumes: {identifier!r} and {centers[center]!r} are both in {center}; one each is allowed"
            raise bad_request(detail)
        if doc["dataCenterIds"] and center not in doc["dataCenterIds"]:
            detail = f"networkVolumes: {identifier!r} is in {center}, which is not one of dataCenterIds"
            raise bad_request(detail)
        centers[center] = identifier
