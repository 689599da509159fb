"""The ASGI app of the service host.

| route                                  | who                | does                                            |
|----------------------------------------|--------------------|-------------------------------------------------|
| `GET /healthz`                         | anyone             | 200 while it runs                               |
| `GET, HEAD /cdn/{bucket}/{key}`        | anyone             | an artifact of a published bucket               |
| `GET, HEAD /hub/…`                     | anyone             | the model hub: local models, and a hub behind   |
| `PUT, GET, DELETE /services/{name}`    | bearer of the token| runs `{module, env}`; the process; ends it      |
| `GET /services`                        | bearer of the token| every service                                   |
| `PUT, GET, DELETE /buckets/{name}`     | bearer of the token| publishes a bucket at the CDN route; withdraws  |
| `GET /buckets`                         | bearer of the token| every published bucket                          |
| `PUT, GET, DELETE /schedules/{name}`   | bearer of the token| moves a pool's minimum by its windows; forgets  |
| `GET /schedules`                       | bearer of the token| every schedule                                  |
"""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import boto3
import httpx
from botocore.config import Config
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.host.cdn import Cdn, PublishedBuckets
from pulumi_visgate.local.host.schedules import Schedules, ScheduleSpec
from pulumi_visgate.local.host.services import NAME, ServiceFailedError, ServiceRecord, Services, ServiceSpec
from pulumi_visgate.local.hub.app import create_app as create_hub
from pulumi_visgate.local.hub.library import Folders
from pulumi_visgate.local.hub.upstream import Upstream
from pulumi_visgate.local.state import CloudState

S3_REGION = "us-east-1"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    home: Home, state: CloudState, environment: Mapping[str, str], *, hub_upstream: str | None = None
) -> Starlette:
    """Make the app.

    Args:
        home: Where it keeps records and logs.
        state: Has the token, and where the S3 server is.
        environment: What services inherit.
        hub_upstream: Hub that is asked for models which this machine does not have; none when left out.
    """
    token = state.host_token.get_secret_value()
    http = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(30.0, connect=5.0))
    published = PublishedBuckets(home.published)
    services = Services(home, environment, digest_key=token.encode(), http=http)
    schedules = Schedules(digest_key=token.encode())
    admin = _Admin(services, published, schedules)
    cdn = Cdn(_signer(state), http, published)

    def guarded(handler: _Handler) -> _Handler:
        async def check(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return _problem(401, "unauthorized", "The service host needs its token as a bearer token.")
            return await handler(request)

        return check

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watchers = [asyncio.create_task(services.watch()), asyncio.create_task(schedules.watch())]
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            schedules.close()
            await services.stop_all()
            await http.aclose()

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/healthz", _healthy),
            Route("/cdn/{bucket}/{key:path}", cdn.serve, methods=["GET", "HEAD"]),
            Mount(
                "/hub",
                create_hub(Folders(home.models), beyond=Upstream(hub_upstream, http).serve if hub_upstream else None),
            ),
            Route("/services", guarded(admin.list_services)),
            Route("/services/{name}", guarded(admin.put_service), methods=["PUT"]),
            Route("/services/{name}", guarded(admin.get_service), methods=["GET"]),
            Route("/services/{name}", guarded(admin.delete_service), methods=["DELETE"]),
            Route("/buckets", guarded(admin.list_buckets)),
            Route("/buckets/{name}", guarded(admin.put_bucket), methods=["PUT"]),
            Route("/buckets/{name}", guarded(admin.get_bucket), methods=["GET"]),
            Route("/buckets/{name}", guarded(admin.delete_bucket), methods=["DELETE"]),
            Route("/schedules", guarded(admin.list_schedules)),
            Route("/schedules/{name}", guarded(admin.put_schedule), methods=["PUT"]),
            Route("/schedules/{name}", guarded(admin.get_schedule), methods=["GET"]),
            Route("/schedules/{name}", guarded(admin.delete_schedule), methods=["DELETE"]),
        ],
    )


class _Admin:
    def __init__(self, services: Services, published: PublishedBuckets, schedules: Schedules) -> None:
        self._services = services
        self._published = published
        self._schedules = schedules

    async def list_services(self, _: Request) -> Response:
        return JSONResponse({"services": [_shown(record) for record in self._services.all()]})

    async def put_service(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not NAME.fullmatch(name):
            return _wrong_name(name)
        try:
            spec = ServiceSpec.model_validate_json(await request.body())
        except ValidationError as error:
            return _wrong_body("service", error)
        try:
            record = await self._services.ensure(name, spec)
        except ServiceFailedError as error:
            return _problem(502, "service_failed", error.detail, hint=error.hint)
        return JSONResponse(_shown(record))

    async def get_service(self, request: Request) -> Response:
        record = self._services.get(request.path_params["name"])
        if record is None:
            return _problem(404, "not_found", f"There is no service {request.path_params['name']!r}.")
        return JSONResponse(_shown(record))

    async def delete_service(self, request: Request) -> Response:
        await self._services.remove(request.path_params["name"])
        return Response(status_code=204)

    async def list_buckets(self, _: Request) -> Response:
        return JSONResponse({"buckets": self._published.names()})

    async def put_bucket(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not _BUCKET.fullmatch(name):
            return _problem(422, "invalid_request", f"name {name!r} is not a bucket name.")
        self._published.add(name)
        return JSONResponse({"name": name, "url": f"{str(request.base_url).rstrip('/')}/cdn/{name}"})

    async def get_bucket(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._published:
            return _problem(404, "not_found", f"Bucket {name!r} is not published.")
        return JSONResponse({"name": name, "url": f"{str(request.base_url).rstrip('/')}/cdn/{name}"})

    async def delete_bucket(self, request: Request) -> Response:
        self._published.discard(request.path_params["name"])
        return Response(status_code=204)

    async def list_schedules(self, _: Request) -> Response:
        return JSONResponse({"schedules": self._schedules.all()})

    async def put_schedule(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not NAME.fullmatch(name):
            return _wrong_name(name)
        try:
            spec = ScheduleSpec.model_validate_json(await request.body())
        except ValidationError as error:
            return _wrong_body("schedule", error)
        return JSONResponse(self._schedules.put(name, spec))

    async def get_schedule(self, request: Request) -> Response:
        name = request.path_params["name"]
        shown = self._schedules.get(name)
        return JSONResponse(shown) if shown else _problem(404, "not_found", f"There is no schedule {name!r}.")

    async def delete_schedule(self, request: Request) -> Response:
        self._schedules.remove(request.path_params["name"])
        return Response(status_code=204)


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _shown(record: ServiceRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "module": record.module,
        "url": record.url,
        "pid": record.process.pid,
        "running": record.process.alive,
        "restarts": record.restarts,
        "spec_digest": record.spec_digest,
        "started_at": record.started_at.isoformat(),
    }


def _wrong_name(name: str) -> Response:
    return _problem(422, "invalid_request", f"name {name!r} must be lower-case letters, digits and hyphens.")


def _wrong_body(what: str, error: ValidationError) -> Response:
    # Without the input: it holds secrets.
    wrong = error.errors(include_input=False, include_url=False, include_context=False)
    fields = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in wrong)
    return _problem(422, "invalid_request", f"The {what}'s specification is wrong: {fields}.")


def _problem(status: int, code: str, detail: str, *, hint: str = "") -> Response:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail, "hint": hint}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def _signer(state: CloudState) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=state.url("s3"),
        aws_access_key_id=state.s3_access_key_id,
        aws_secret_access_key=state.s3_secret_access_key.get_secret_value(),
        region_name=S3_REGION,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
