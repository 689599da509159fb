"""`/v2/serverless`: endpoints, their workers and releases."""

import json

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, created, no_content
from pulumi_visgate.local.emulator.clock import rfc3339
from pulumi_visgate.local.emulator.control.endpoint_rules import (
    Urls,
    changed_endpoint,
    check_endpoint,
    new_endpoint,
    release_diff,
    with_template,
)
from pulumi_visgate.local.emulator.control.templates import bound_to
from pulumi_visgate.local.emulator.core import Emulator
from pulumi_visgate.local.emulator.fleet import Worker, WorkerState
from pulumi_visgate.local.emulator.store import Doc, Kind, Record, new_id
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, UpdateEndpoint


async def list_endpoints(call: Call) -> Response:
    """`listEndpoints`."""
    return answer({"endpoints": call.listed(Kind.ENDPOINT)})


async def create_endpoint(call: Call) -> Response:
    """`createEndpoint`."""
    body = (await call.body(CreateEndpoint)).body()
    emulator = call.emulator
    template = body.get("templateId")
    doc = call.emulator.quirks.prepared(new_endpoint(with_template(call, body)))
    check_endpoint(call, doc)
    now = emulator.clock.now()
    meta: Doc = {"version": 1, "template": _to_bind(call, template)}
    with emulator.store.transaction():
        record = emulator.store.add(Kind.ENDPOINT, call.account, now, {**doc, "createdAt": rfc3339(now)}, meta)
        urls = Urls(f"{emulator.base_url}/jobs/v2")
        record.doc["requestUrls"] = urls.of(record.id, record.doc["type"])
        emulator.store.save(record)
        _release(emulator, record, [])
    emulator.scheduler.touch(record.id)
    return created(call.shown(record.doc))


async def get_endpoint(call: Call) -> Response:
    """`getEndpoint`."""
    return answer(call.shown(call.own(Kind.ENDPOINT, call.param("id")).doc))


async def update_endpoint(call: Call) -> Response:
    """`updateEndpoint`: changes of the container or its place make a release, limits apply at once."""
    body = (await call.body(UpdateEndpoint)).body()
    emulator = call.emulator
    record = call.own(Kind.ENDPOINT, call.param("id"))
    new = changed_endpoint(record.doc, with_template(call, body))
    check_endpoint(call, new)
    diff = release_diff(record.doc, new)
    record.doc = new
    with emulator.store.transaction():
        if diff:
            record.meta["version"] += 1
            _release(emulator, record, diff)
        emulator.store.save(record)
        emulator.store.remember(f"activity {record.id}", emulator.clock.now())
    emulator.scheduler.touch(record.id)
    return answer(call.shown(record.doc))


async def delete_endpoint(call: Call) -> Response:
    """`deleteEndpoint`: workers end, jobs are cancelled, and a bound template goes with it."""
    remove(call.emulator, call.own(Kind.ENDPOINT, call.param("id")))
    return no_content()


def remove(emulator: Emulator, record: Record, *, at_once: bool = False) -> None:
    """Delete an endpoint.

    Args:
        emulator: Where.
        record: Which.
        at_once: Kill its workers instead of asking them first.
    """
    template = emulator.store.get(Kind.TEMPLATE, record.meta.get("template") or "", record.account)
    emulator.store.remove(record)
    emulator.queue.remove_endpoint(record.id)
    emulator.store.execute("DELETE FROM release WHERE endpoint = ?", record.id)
    emulator.store.execute("DELETE FROM meta WHERE key = ?", f"activity {record.id}")
    if template is not None:
        emulator.store.remove(template)
    for worker in emulator.fleet.of(record.id):
        emulator.fleet.stop(worker, at_once=at_once)
    emulator.fleet.forget_endpoint(record.id)


async def list_endpoint_workers(call: Call) -> Response:
    """`listEndpointWorkers`."""
    record = call.own(Kind.ENDPOINT, call.param("id"))
    workers = [worker for worker in call.emulator.fleet.of(record.id) if not worker.ending]
    counts = {state: sum(worker.state is state for worker in workers) for state in WorkerState}
    summary = {state.value.lower(): number for state, number in counts.items()} | {"total": len(workers)}
    version = record.meta["version"]
    now = call.emulator.clock.now()
    shown = [_worker(worker, version, now) for worker in workers]
    return answer({"endpointVersion": version, "summary": summary, "workers": shown})


async def list_endpoint_releases(call: Call) -> Response:
    """`listEndpointReleases`."""
    record = call.own(Kind.ENDPOINT, call.param("id"))
    workers = [worker for worker in call.emulator.fleet.of(record.id) if not worker.ending]
    version = record.meta["version"]
    latest = sum(worker.version == version for worker in workers)
    rows = call.emulator.store.rows("SELECT * FROM release WHERE endpoint = ? ORDER BY version DESC", record.id)
    releases = [
        {
            "id": row["id"],
            "version": row["version"],
            "source": "MANUAL",
            "buildId": None,
            "createdByUserId": None,
            "workerCount": sum(worker.version == row["version"] for worker in workers),
            "createdAt": rfc3339(row["created"]),
            "diff": json.loads(row["diff"]),
        }
        for row in rows
    ]
    rollout = {
        "inProgress": latest < len(workers),
        "workersOnLatest": latest,
        "workersTotal": len(workers),
        "percentOnLatest": 100 * latest // len(workers) if workers else 0,
    }
    return answer({"endpointVersion": version, "rollout": rollout, "releases": releases})


def _release(emulator: Emulator, record: Record, diff: list[Doc]) -> None:
    emulator.store.execute(
        "INSERT INTO release VALUES (?, ?, ?, ?, ?)",
        *(record.id, record.meta["version"], new_id(), emulator.clock.now(), json.dumps(diff)),
    )


def _to_bind(call: Call, template: str | None) -> str | None:
    if template is None or not call.emulator.bind_templates:
        return None
    record = call.emulator.store.get(Kind.TEMPLATE, template, call.account)
    return None if record is None or bound_to(call, record) is not None else record.id


def _worker(worker: Worker, version: int, now: float) -> Doc:
    gpu = worker.config.get("gpu")
    place = worker.placement
    return {
        "id": worker.id,
        "status": worker.state.value,
        "isStale": worker.version != version,
        "version": worker.version,
        "gpuCount": gpu["count"] if gpu else 0,
        "image": worker.config["image"],
        "uptimeSeconds": None if worker.started is None else int(now - worker.started),
        "gpuTypeId": place.gpu if place else None,
        "dataCenterId": place.data_center if place else None,
        "startedAt": None if worker.started is None else rfc3339(worker.started),
    }
