"""The HTTP face: one route that a scheduler posts events to, and a probe."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pulumi_visgate.errors import VisgateError
from pulumi_visgate.resources.reconcile import Reconciled, reconcile
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.billing import BillingBucketSize, BillingFilter
from pulumi_visgate.upkeep.reaper import Finding, reap
from pulumi_visgate.upkeep.settings import Settings
from visgate_contract.names import user_hash
from visgate_contract.pools import PoolPolicy, Window, effective_minimum
from visgate_contract.redaction import Redactor

log = logging.getLogger(__name__)

REPAIR_MINUTES = 15
EDGE_MINUTES = 3  # a tick may come late, or be lost
METRIC_NAMESPACE = "Visgate"


class Pool(BaseModel):
    """A scheduled pool.

    Args:
        endpoint_id: Its endpoint.
        windows: When it keeps workers.
        min_workers: Workers that it keeps outside of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    windows: Annotated[list[Window], Field(min_length=1)]
    min_workers: Annotated[int, Field(ge=0)] = 0

    def is_due(self, now: datetime) -> bool:
        """Say whether its minimum may have to move: near an edge of a window, and now and then to repair it."""
        if now.minute % REPAIR_MINUTES == 0:
            return True
        before = now - timedelta(minutes=EDGE_MINUTES)
        return self._wanted(now) != self._wanted(before)

    def _wanted(self, moment: datetime) -> int:
        return effective_minimum(PoolPolicy.SCHEDULED_WARM, self.windows, moment, min_workers=self.min_workers)


class Reconcile(BaseModel):
    """Move the minima of pools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["reconcile"]
    pools: list[Pool]


class Reap(BaseModel):
    """End what nobody owns, or only tell.

    Args:
        do: `reap`.
        keep: Ids of the endpoints that the stack declares.
        min_age_hours: Hours of no use after which an endpoint is nobody's.
        delete: End it; else only tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["reap"]
    keep: list[str]
    min_age_hours: Annotated[int, Field(ge=1)] = 24
    delete: bool = False


_WORK: TypeAdapter[Reconcile | Reap] = TypeAdapter(Annotated[Reconcile | Reap, Field(discriminator="do")])


def create_app(settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Return the application.

    Args:
        settings: Everything it is told.
        now: The time, with a time zone.
    """
    key = settings.runpod_api_key
    redactor = Redactor([key.get_secret_value()])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with RunpodClient(
            key,
            base_url=settings.runpod_api_url,
            jobs_url=settings.runpod_jobs_url,
            timeout_s=settings.runpod_timeout_s,
        ) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/events")
    async def events(request: Request) -> Any:
        client: RunpodClient = request.app.state.client
        try:
            work = _WORK.validate_json(await request.body())  # whatever content type an adapter says it is
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False, include_context=False)
            return JSONResponse({"error": [f"{found['loc']}: {found['msg']}" for found in wrong]}, status_code=422)
        try:
            match work:
                case Reconcile():
                    return await asyncio.to_thread(_reconcile, client, work, now())
                case Reap():
                    return await asyncio.to_thread(_reap, client, work, settings, now())
        except VisgateError as error:
            said = redactor.text(str(error))
            log.error("%s failed: %s", work.do, said)  # noqa: TRY400, a trace of the client says nothing more
            return JSONResponse({"error": said}, status_code=502)

    return app


def _reconcile(client: RunpodClient, work: Reconcile, now: datetime) -> dict[str, Any]:
    """Move each pool that is due; one that fails does not keep the others from it."""
    moved: dict[str, Reconciled] = {}
    failed: VisgateError | None = None
    for pool in (found for found in work.pools if found.is_due(now)):
        try:
            done = reconcile(client, pool.endpoint_id, pool.windows, now, min_workers=pool.min_workers)
        except VisgateError as error:
            failed = error
            continue
        moved[pool.endpoint_id] = done
        if done.before != done.minimum:
            log.info("minimum of %s %d => %d", pool.endpoint_id, done.before, done.minimum)
    if failed is not None:
        raise failed
    return {"minima": {endpoint: done.minimum for endpoint, done in moved.items()}}


def _reap(client: RunpodClient, work: Reap, settings: Settings, now: datetime) -> dict[str, Any]:
    findings = reap(
        client,
        user_hash=user_hash(settings.runpod_api_key.get_secret_value()),
        keep=frozenset(work.keep),
        now=now,
        min_age=timedelta(hours=work.min_age_hours),
        delete=work.delete,
    )
    for finding in findings:
        log.info("%s %s: %s%s", finding.endpoint_id, finding.name, finding.reason, _done(finding))
    spent = client.list_billing(BillingFilter(bucket_size=BillingBucketSize.HOUR, last_n=2)).records
    _tell_figures(settings.stack, now, usd=max((record.total_amount for record in spent), default=0.0), of=findings)
    return {"findings": [finding.as_dict() for finding in findings]}


def _done(finding: Finding) -> str:
    if finding.done:
        return f"; {finding.done}"
    return "; would go" if finding.goes else ""


def _tell_figures(stack: str, now: datetime, *, usd: float, of: list[Finding]) -> None:
    """Print one line in CloudWatch's embedded metric format; elsewhere it is a line of JSON."""
    metrics = [{"Name": "RunpodUsdPerHour"}, {"Name": "EndpointsOfNobody", "Unit": "Count"}]
    directive = {"Namespace": METRIC_NAMESPACE, "Dimensions": [["Stack"]], "Metrics": metrics}
    line = {
        "_aws": {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]},
        "Stack": stack,
        "RunpodUsdPerHour": round(usd, 4),
        "EndpointsOfNobody": sum(finding.goes and not finding.done for finding in of),
    }
    print(json.dumps(line), flush=True)  # noqa: T201, the log is where CloudWatch takes figures from
