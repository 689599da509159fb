"""The job API of queue endpoints: run, runsync, status, stream, cancel, retry, purge-queue, health."""

import asyncio
import sqlite3
from typing import Any

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer
from pulumi_visgate.local.emulator.errors import bad_request, not_found
from pulumi_visgate.local.emulator.fleet import WorkerState
from pulumi_visgate.local.emulator.jobs import DEFAULT_TTL_MS, FINAL, NewJob, job_bell, public
from pulumi_visgate.local.emulator.store import Doc, Kind, Record

MIN_EXECUTION_MS = 5_000
MIN_TTL_MS = 10_000
MAX_POLICY_MS = 7 * 86_400_000
DEFAULT_WAIT_MS = 90_000
MAX_WAIT_MS = 300_000
MIN_WAIT_MS = 1_000
_STREAM_WAIT_S = 10.0
_KNOWN = frozenset({"input", "webhook", "policy", "s3Config"})


async def run(call: Call) -> Response:
    """Queue a job."""
    record = _endpoint(call)
    job = _submit(call, record, await call.json(call.emulator.settings.max_job_bytes), sync=False)
    return answer({"id": job, "status": "IN_QUEUE"})


async def run_sync(call: Call) -> Response:
    """Queue a job and wait for its end, at most `wait` milliseconds."""
    record = _endpoint(call)
    wait_ms = _wait_ms(call.query().get("wait"))
    job = _submit(call, record, await call.json(2 * call.emulator.settings.max_job_bytes), sync=True)
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    while True:
        row = _job(call, record, job)
        left_s = deadline - asyncio.get_running_loop().time()
        if row["status"] in FINAL or left_s <= 0 or call.emulator.closing:
            return answer(public(row))
        if not await call.wait(job_bell(job), timeout_s=left_s):
            return answer(public(row))


async def status(call: Call) -> Response:
    """Tell how a job is doing."""
    record = _endpoint(call)
    return answer(public(_job(call, record, call.param("job"))))


async def stream(call: Call) -> Response:
    """Return what a streaming job has produced since the last call; waits a moment when there is nothing."""
    record, job = _endpoint(call), call.param("job")
    row = _job(call, record, job)
    items = call.emulator.queue.unread(job)
    if not items and row["status"] not in FINAL:
        await call.wait(job_bell(job), timeout_s=_STREAM_WAIT_S)
        row = _job(call, record, job)
        items = call.emulator.queue.unread(job)
    return answer({"status": row["status"], "stream": items})


async def cancel(call: Call) -> Response:
    """Cancel a job that waits or runs; a job that has ended stays as it is."""
    record, job = _endpoint(call), call.param("job")
    row = _job(call, record, job)
    emulator = call.emulator
    if emulator.queue.cancel(record.id, job):
        worker = emulator.fleet.get(row["worker"] or "")
        if worker is not None and job in worker.jobs:
            emulator.fleet.signal_stop(worker, job)
    return answer(public(_job(call, record, job)))


async def retry(call: Call) -> Response:
    """Queue a failed or timed-out job again."""
    record, job = _endpoint(call), call.param("job")
    row = _job(call, record, job)
    if not call.emulator.queue.retry(record.id, job):
        detail = f"only a FAILED or TIMED_OUT job can be retried; this one is {row['status']}"
        raise bad_request(detail)
    return answer({"id": job, "status": "IN_QUEUE"})


async def purge_queue(call: Call) -> Response:
    """Remove every job that waits."""
    record = _endpoint(call)
    return answer({"removed": call.emulator.queue.purge(record.id), "status": "completed"})


async def health(call: Call) -> Response:
    """Count jobs and workers."""
    record = _endpoint(call)
    workers = [worker.state for worker in call.emulator.fleet.of(record.id) if not worker.ending]
    counts = {state.value.lower(): workers.count(state) for state in WorkerState}
    counts["ready"] = counts["idle"] + counts["running"]
    return answer({"jobs": call.emulator.queue.counts(record.id), "workers": counts})


def _endpoint(call: Call) -> Record:
    record = call.emulator.store.get(Kind.ENDPOINT, call.param("id"), call.account)
    if record is None:
        raise not_found(Kind.ENDPOINT.value, call.param("id"))
    if record.doc["type"] != "QUEUE":
        detail = f"endpoint {record.id!r} is a load balancer and has no queue"
        raise bad_request(detail)
    return record


def _job(call: Call, record: Record, job: str) -> sqlite3.Row:
    row = call.emulator.queue.get(record.id, job)
    if row is None:
        noun = "job"
        raise not_found(noun, job)
    return row


def _submit(call: Call, record: Record, body: Any, *, sync: bool) -> str:
    if not isinstance(body, dict) or "input" not in body:
        detail = "input: the request body must be an object with an input"
        raise bad_request(detail)
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        detail = f"{unknown[0]}: unknown field; {', '.join(sorted(_KNOWN))} are allowed"
        raise bad_request(detail)
    emulator = call.emulator
    emulator.store.remember(f"activity {record.id}", emulator.clock.now())
    return emulator.queue.submit(record.id, call.account, _new_job(record, body, sync=sync))


def _new_job(record: Record, body: Doc, *, sync: bool) -> NewJob:
    webhook = body.get("webhook")
    if webhook is not None and not (isinstance(webhook, str) and webhook.startswith(("http://", "https://"))):
        detail = "webhook: must be an http or https URL"
        raise bad_request(detail)
    policy = body.get("policy") or {}
    if not isinstance(policy, dict):
        detail = "policy: must be an object"
        raise bad_request(detail)
    return NewJob(
        input=body["input"],
        webhook=webhook,
        execution_ms=_policy(policy, "executionTimeout", MIN_EXECUTION_MS, record.doc["timeout"]),
        ttl_ms=_policy(policy, "ttl", MIN_TTL_MS, DEFAULT_TTL_MS),
        low_priority=bool(policy.get("lowPriority")),
        sync=sync,
    )


def _policy(policy: Doc, name: str, least: int, default: int) -> int:
    value = policy.get(name, default)
    if name in policy and (
        not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_POLICY_MS
    ):
        detail = f"policy.{name}: must be a whole number of milliseconds from {least} to {MAX_POLICY_MS}"
        raise bad_request(detail)
    return int(value)


def _wait_ms(text: str | None) -> int:
    if text is None:
        return DEFAULT_WAIT_MS
    if not text.isdecimal() or not MIN_WAIT_MS <= int(text) <= MAX_WAIT_MS:
        detail = f"wait: must be a whole number of milliseconds from {MIN_WAIT_MS} to {MAX_WAIT_MS}"
        raise bad_request(detail)
    return int(text)
