"""The ASGI application: routes of the four planes, and what every request passes on its way to a handler.

Control plane `/v2`, job plane `/jobs/v2`, worker plane `/worker/v2`, admin `/admin`.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pulumi_visgate.local.emulator import job_routes, worker_routes
from pulumi_visgate.local.emulator.admin_routes import ADMIN, require_loopback
from pulumi_visgate.local.emulator.calls import Call, Handler, problem_response
from pulumi_visgate.local.emulator.control import (
    billing,
    catalog,
    endpoints,
    registries,
    templates,
    volumes,
    worker_logs,
)
from pulumi_visgate.local.emulator.core import Emulator
from pulumi_visgate.local.emulator.errors import Problem
from pulumi_visgate.local.emulator.faults import Fault, FaultKind
from pulumi_visgate.local.emulator.identity import Caller

CONTROL: tuple[tuple[str, str, str, Handler], ...] = (
    ("listEndpoints", "GET", "/v2/serverless", endpoints.list_endpoints),
    ("createEndpoint", "POST", "/v2/serverless", endpoints.create_endpoint),
    ("getEndpoint", "GET", "/v2/serverless/{id}", endpoints.get_endpoint),
    ("updateEndpoint", "PATCH", "/v2/serverless/{id}", endpoints.update_endpoint),
    ("deleteEndpoint", "DELETE", "/v2/serverless/{id}", endpoints.delete_endpoint),
    ("listEndpointWorkers", "GET", "/v2/serverless/{id}/workers", endpoints.list_endpoint_workers),
    ("listEndpointReleases", "GET", "/v2/serverless/{id}/releases", endpoints.list_endpoint_releases),
    ("getWorkerLogs", "GET", "/v2/serverless/{id}/workers/{workerId}/logs", worker_logs.get_worker_logs),
    ("listTemplates", "GET", "/v2/templates", templates.list_templates),
    ("createTemplate", "POST", "/v2/templates", templates.create_template),
    ("getTemplate", "GET", "/v2/templates/{id}", templates.get_template),
    ("updateTemplate", "PATCH", "/v2/templates/{id}", templates.update_template),
    ("deleteTemplate", "DELETE", "/v2/templates/{id}", templates.delete_template),
    ("listNetworkVolumes", "GET", "/v2/network-volumes", volumes.list_network_volumes),
    ("createNetworkVolume", "POST", "/v2/network-volumes", volumes.create_network_volume),
    ("getNetworkVolume", "GET", "/v2/network-volumes/{id}", volumes.get_network_volume),
    ("updateNetworkVolume", "PATCH", "/v2/network-volumes/{id}", volumes.update_network_volume),
    ("deleteNetworkVolume", "DELETE", "/v2/network-volumes/{id}", volumes.delete_network_volume),
    ("listDelegations", "GET", "/v2/registries/delegations", registries.list_delegations),
    ("createDelegation", "POST", "/v2/registries/delegations", registries.create_delegation),
    ("revokeDelegation", "DELETE", "/v2/registries/delegations/{id}", registries.revoke_delegation),
    ("listRegistries", "GET", "/v2/registries", registries.list_registries),
    ("createRegistry", "POST", "/v2/registries", registries.create_registry),
    ("getRegistry", "GET", "/v2/registries/{id}", registries.get_registry),
    ("deleteRegistry", "DELETE", "/v2/registries/{id}", registries.delete_registry),
    ("listGpuTypes", "GET", "/v2/catalog/gpus", catalog.list_gpu_types),
    ("getGpuType", "GET", "/v2/catalog/gpus/{id}", catalog.get_gpu_type),
    ("listCpuTypes", "GET", "/v2/catalog/cpus", catalog.list_cpu_types),
    ("getCpuType", "GET", "/v2/catalog/cpus/{id}", catalog.get_cpu_type),
    ("listDataCenters", "GET", "/v2/catalog/datacenters", catalog.list_data_centers),
    ("getDataCenter", "GET", "/v2/catalog/datacenters/{id}", catalog.get_data_center),
    ("listPublicTemplates", "GET", "/v2/catalog/templates", templates.list_public_templates),
    ("listBilling", "GET", "/v2/billing", billing.list_billing),
    ("listServerlessBilling", "GET", "/v2/billing/serverless", billing.list_serverless_billing),
    ("listEndpointBilling", "GET", "/v2/billing/endpoints", billing.list_endpoint_billing),
    ("listNetworkVolumeBilling", "GET", "/v2/billing/network-volumes", billing.list_network_volume_billing),
    ("listPodBilling", "GET", "/v2/billing/pods", billing.list_pod_billing),
    ("listClusterBilling", "GET", "/v2/billing/clusters", billing.list_cluster_billing),
)

JOBS: tuple[tuple[str, str, str, Handler], ...] = (
    ("run", "POST", "/jobs/v2/{id}/run", job_routes.run),
    ("runsync", "POST", "/jobs/v2/{id}/runsync", job_routes.run_sync),
    ("status", "GET", "/jobs/v2/{id}/status/{job}", job_routes.status),
    ("status", "POST", "/jobs/v2/{id}/status/{job}", job_routes.status),
    ("stream", "GET", "/jobs/v2/{id}/stream/{job}", job_routes.stream),
    ("stream", "POST", "/jobs/v2/{id}/stream/{job}", job_routes.stream),
    ("cancel", "POST", "/jobs/v2/{id}/cancel/{job}", job_routes.cancel),
    ("retry", "POST", "/jobs/v2/{id}/retry/{job}", job_routes.retry),
    ("purgeQueue", "POST", "/jobs/v2/{id}/purge-queue", job_routes.purge_queue),
    ("health", "GET", "/jobs/v2/{id}/health", job_routes.health),
)

WORKER: tuple[tuple[str, str, str, Handler], ...] = (
    ("jobTake", "GET", "/worker/v2/{id}/job-take/{worker}", worker_routes.job_take),
    ("jobTakeBatch", "GET", "/worker/v2/{id}/job-take-batch/{worker}", worker_routes.job_take_batch),
    ("jobDone", "POST", "/worker/v2/{id}/job-done/{worker}/{job}", worker_routes.job_done),
    ("jobStream", "POST", "/worker/v2/{id}/job-stream/{worker}/{job}", worker_routes.job_stream),
    ("jobStop", "GET", "/worker/v2/{id}/job-stop/{worker}", worker_routes.job_stop),
    ("ping", "GET", "/worker/v2/{id}/ping/{worker}", worker_routes.ping),
)

_ABORT = "emulator.abort"
_BEFORE = {FaultKind.STATUS, FaultKind.HANG, FaultKind.RESET}


class _ConnectionLost(Exception):  # noqa: N818, ends a request without an answer
    """The connection was cut on purpose."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route.

    Args:
        name: Operation id.
        plane: `control`, `jobs`, `worker` or `admin`.
        handler: What it does.
    """

    name: str
    plane: str
    handler: Handler


class Front:
    """Runs the operation of a path and method: caller, quota, counters, delay, faults, then the handler.

    Args:
        emulator: Where it happens.
        operations: By HTTP method.
    """

    def __init__(self, emulator: Emulator, operations: dict[str, Operation]) -> None:
        self._emulator = emulator
        self._operations = operations

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        operation = self._operations["GET" if request.method == "HEAD" else request.method]
        headers: dict[str, str] = {}
        try:
            response = await self._answer(request, operation, headers)
        except Problem as problem:
            response = problem_response(problem)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    async def _answer(self, request: Request, operation: Operation, headers: dict[str, str]) -> Response:
        emulator = self._emulator
        if operation.plane == "admin":
            require_loopback(request)
            return await operation.handler(Call(request, emulator, Caller("")))
        bare = operation.plane != "control"
        caller = emulator.identity.caller(request.headers.get("authorization"), bare=bare)
        caller.allow(operation.name, request.path_params.get("id"), plane=_plane(operation))
        if operation.plane == "worker":
            return await operation.handler(Call(request, emulator, caller))
        if operation.plane == "control":
            headers.update(emulator.quota.spend(caller.account))
        emulator.traffic.count(caller.account, operation.name)
        await emulator.traffic.delay()
        return await self._with_fault(Call(request, emulator, caller), operation)

    async def _with_fault(self, call: Call, operation: Operation) -> Response:
        request = call.request
        fault = call.emulator.faults.on_request(operation.name, request.method, request.url.path)
        call.fault = fault
        if fault is not None and fault.kind in _BEFORE:
            await self._fail(call, fault)
        response = await operation.handler(call)
        if fault is not None and fault.kind is FaultKind.LOST_ANSWER:
            if fault.delay_ms is not None:
                await _hang(call, fault)
            await _cut(call)
        if fault is not None and fault.kind is FaultKind.LATE_ERROR:
            raise fault.problem()
        return response

    async def _fail(self, call: Call, fault: Fault) -> None:
        if fault.kind is FaultKind.STATUS:
            raise fault.problem()
        if fault.kind is FaultKind.HANG:
            await _hang(call, fault)
        await _cut(call)


def _plane(operation: Operation) -> str:
    return "jobs" if operation.plane == "worker" else operation.plane


async def _hang(call: Call, fault: Fault) -> None:
    hang = asyncio.ensure_future(fault.hang())
    try:
        while not hang.done() and await call.wait("never", timeout_s=0.5):
            pass
    finally:
        hang.cancel()


async def _cut(call: Call) -> None:
    call.request.scope[_ABORT]()
    await call.gone()
    raise _ConnectionLost


class CutConnections:
    """Outermost layer: lets a handler cut the TCP connection, and keeps such requests silent.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or the lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server's own send belongs to the request cycle, which knows the transport; ASGI itself has no abort.
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        cut = False

        def abort() -> None:
            nonlocal cut
            cut = True
            if transport is not None:
                transport.abort()

        scope[_ABORT] = abort
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return  # a caller that was killed while it sent its request is nothing to report
        except _ConnectionLost:
            if not cut:
                raise


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    details = {404: "this path does not exist", 405: "The requested method is not allowed for this path."}
    return problem_response(Problem(HTTPStatus(status), details.get(status, "internal error"), headers=headers))


def build(emulator: Emulator) -> ASGIApp:
    """Return the application of an emulator."""
    paths: dict[str, dict[str, Operation]] = defaultdict(dict)
    for plane, table in (("control", CONTROL), ("jobs", JOBS), ("worker", WORKER)):
        for name, method, path, handler in table:
            paths[path][method] = Operation(name, plane, handler)
    for method, path, handler in ADMIN:
        paths[path][method] = Operation(path, "admin", handler)
    routes = [Route(path, Front(emulator, found).__call__, methods=list(found)) for path, found in paths.items()]
    return CutConnections(
        Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _http_error})
    )
