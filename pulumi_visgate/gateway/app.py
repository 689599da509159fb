"""The ASGI application: routes, middleware and lifespan put together. No process-wide state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.event_stream import OpenStreams
from pulumi_visgate.gateway.middleware.body_limit import BodyLimit
from pulumi_visgate.gateway.middleware.client_address import ClientAddress
from pulumi_visgate.gateway.middleware.fal_root import FalRoot
from pulumi_visgate.gateway.middleware.guard import Guard
from pulumi_visgate.gateway.middleware.origin import OriginGate
from pulumi_visgate.gateway.middleware.rate_limit import RateLimit
from pulumi_visgate.gateway.middleware.trace import Trace
from pulumi_visgate.gateway.routes import (
    callbacks,
    deployments,
    docs,
    examples,
    fal,
    images,
    jobs,
    metrics,
    platform,
    preflight,
    quick,
    streams,
    uploads,
    webhooks,
)
from pulumi_visgate.gateway.services.replays import FIELD
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.gateway.state import Clients, opened

# FastAPI's own would tell tracers what was sent and what failed, unmasked, and looks for them with each request.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
_SUMMARY = "Pictures on Runpod GPUs of your own account, without a database in between."
_DESCRIPTION = """\
Send your own Runpod API key as a bearer token; it is used for the request and stored nowhere.
A job's events go to your webhook, signed as [Standard Webhooks](https://www.standardwebhooks.com) say, and to
`/v1/jobs/{job_id}/events`. Errors are problem documents (RFC 9457) with a stable `code`."""


def create_app(settings: Settings, *, clients: Clients | None = None) -> FastAPI:
    """Return the application.

    Args:
        settings: Everything it is told.
        clients: Ways out of the process; the network when left out.
    """
    open_streams = OpenStreams()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, clients or Clients(), open_streams) as state:
            app.state.visgate = state
            try:
                yield
            finally:
                del app.state.visgate

    app = FastAPI(
        title="visgate gateway",
        summary=_SUMMARY,
        description=_DESCRIPTION,
        version=version("pulumi-visgate"),
        lifespan=lifespan,
        telemetry=_NO_TELEMETRY,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": settings.public_url}],
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.streams = open_streams
    for router in (
        jobs.submissions,
        deployments.submissions,
        jobs.router,
        streams.router,
        deployments.router,
        preflight.router,
        uploads.router,
        webhooks.router,
        platform.router,
        metrics.router,
        callbacks.router,
        fal.router,
        images.router,
    ):
        app.include_router(router)
    docs.install(app)
    problems.install(app)
    _describe_problems(app)
    # The last one added is the outermost.
    app.add_middleware(
        quick.Shortcut,
        routes=quick.routes(
            (jobs.submissions, deployments.submissions),
            {"/v1/jobs": ("idempotency_key", FIELD, jobs.IdempotencyKey)},
        ),
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RateLimit)
    if settings.tracing:
        app.add_middleware(Trace)
    if settings.origin_secret is not None:
        app.add_middleware(OriginGate, secret=settings.origin_secret.get_secret_value())
    app.add_middleware(Guard, platform_secrets=settings.secrets())
    app.add_middleware(FalRoot)
    if settings.trusted_proxies:
        app.add_middleware(ClientAddress, trusted=settings.trusted_proxies, header=settings.client_address_header)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the examples into the OpenAPI document, and the problem document's schema, which routes refer to by name."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                servers=app.servers,
            )
            schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(schema.pop("$defs", {}))
            schemas[problems.Problem.__name__] = schema
            _forget_unused_validation_error(document)
            examples.add_to(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _forget_unused_validation_error(document: dict[str, Any]) -> None:
    """Take out the framework's own 422, which it adds where a route describes none: no route answers in that form."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
