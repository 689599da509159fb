"""What the runpod SDK inside a worker talks to: take a job, report on it, hear that it must stop, ping."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, no_content
from pulumi_visgate.local.emulator.errors import bad_request, unauthorized
from pulumi_visgate.local.emulator.fleet import Worker
from pulumi_visgate.local.emulator.jobs import queue_bell
from pulumi_visgate.local.emulator.store import Doc

_MAX_BATCH = 100


async def job_take(call: Call) -> Response:
    """Give the worker its next job, held open until there is one; 204 when there is none."""
    worker = _worker(call)
    jobs = await _take(call, worker, 1)
    return answer(jobs[0]) if jobs else no_content()


async def job_take_batch(call: Call) -> Response:
    """Give the worker up to `batch_size` jobs."""
    worker = _worker(call)
    size = call.request.query_params.get("batch_size", "1")
    if not size.isdecimal() or not 1 <= int(size) <= _MAX_BATCH:
        detail = f"batch_size: must be from 1 to {_MAX_BATCH}"
        raise bad_request(detail)
    jobs = await _take(call, worker, int(size))
    return answer(jobs) if jobs else no_content()


async def job_done(call: Call) -> Response:
    """Keep a progress report or a result; what comes too late is acknowledged and dropped."""
    worker, job = _worker(call), call.param("job")
    body = await _report(call)
    queue = call.emulator.queue
    if body.get("status") == "IN_PROGRESS":
        queue.progress(worker.endpoint, job, worker.id, body.get("output"))
    elif queue.finish(worker.endpoint, job, worker.id, body) or job in worker.stopping:
        call.emulator.fleet.finished(worker, job)
        if body.get("stopPod"):
            call.emulator.fleet.stop(worker)
    return answer({"status": "ok"})


async def job_stream(call: Call) -> Response:
    """Keep one item of a streaming handler."""
    worker = _worker(call)
    call.emulator.queue.stream(worker.endpoint, call.param("job"), worker.id, await _report(call))
    return answer({"status": "ok"})


async def job_stop(call: Call) -> Response:
    """Tell the worker which jobs to drop, held open until there are some; 204 when there are none."""
    worker = _worker(call)
    deadline = asyncio.get_running_loop().time() + call.emulator.settings.poll_s
    while not worker.signals and not worker.ending and not call.emulator.closing:
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0 or not await call.wait(worker.bell, timeout_s=left_s):
            break
    jobs, worker.signals = worker.signals, []
    return answer({"jobsToStop": jobs}) if jobs else no_content()


async def ping(call: Call) -> Response:
    """Note that the worker lives, or that its own checks have failed."""
    worker = _worker(call)
    if call.request.query_params.get("status") == "unhealthy":
        check = call.request.query_params.get("check", "")
        reason = call.request.query_params.get("reason", "")
        call.emulator.fleet.report_unhealthy(worker, f"{check}: {reason}")
    return Response(status_code=HTTPStatus.OK)


async def _take(call: Call, worker: Worker, number: int) -> list[Doc]:
    emulator = call.emulator
    if call.request.query_params.get("job_in_progress") != "1" and not worker.jobs:
        emulator.fleet.ready(worker)
    deadline = asyncio.get_running_loop().time() + emulator.settings.poll_s
    jobs: list[Doc] = []
    process = worker.process  # a request of one that has died must not take the job that it left behind
    while worker.process is process and not (worker.ending or worker.retiring or emulator.closing):
        while len(jobs) < number and (job := emulator.queue.take(worker.endpoint, worker.id)) is not None:
            emulator.fleet.took(worker, job["id"])
            jobs.append(job)
        left_s = deadline - asyncio.get_running_loop().time()
        if jobs or left_s <= 0:
            break
        if not await call.wait(queue_bell(worker.endpoint), worker.bell, timeout_s=left_s):
            break
    return jobs


def _worker(call: Call) -> Worker:
    worker = call.emulator.fleet.get(call.param("worker"))
    if worker is None or worker.id != call.caller.worker or worker.endpoint != call.param("id"):
        detail = "this worker is not known any more"
        raise unauthorized(detail)
    return worker


async def _report(call: Call) -> Doc:
    raw = await call.raw(2 * call.emulator.settings.max_job_bytes)
    try:
        body: Any = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        detail = "a job's report must be a JSON object"
        raise bad_request(detail)
    return body
