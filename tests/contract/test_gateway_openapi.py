"""The gateway against its own OpenAPI document: every answer to any request is one that the document promises."""

import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from pulumi_visgate.gateway.state import Clients
from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.testing import HubMirror
from tests.handled import Handled

pytestmark = pytest.mark.contract

KEY = "rpa_CANARYKEY0000000000000000000001"
JOBS_HOST = "jobs.test"


async def empty_account(request: httpx.Request) -> httpx.Response:
    """Runpod for an account that has nothing and may make nothing; other keys are wrong."""
    if request.headers["Authorization"] != f"Bearer {KEY}":
        return httpx.Response(401, json={"title": "Unauthorized", "status": 401, "detail": "wrong key"})
    if request.url.host == JOBS_HOST or request.url.path.count("/") > 2:
        return httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": "not found"})
    if request.method == "GET":
        return httpx.Response(200, json={"endpoints": []})
    return httpx.Response(402, json={"title": "Payment Required", "status": 402, "detail": "no funds"})


async def public(_: str, __: int) -> list[str]:
    return ["8.8.8.8"]


def deaf(request: httpx.Request) -> httpx.Response:
    message = "nobody there"
    raise httpx.ConnectError(message, request=request)


def application() -> FastAPI:
    given = Settings(
        signing_key="signing-key-of-the-tests-0123456789",
        runpod_api_url="http://api.test",
        runpod_jobs_url=f"http://{JOBS_HOST}/v2",
        image="visgate-worker:test",
        gpu_pools=("ADA_24",),
        hf_endpoint="http://hub.test:1",
        models=(OfferedModel(model_id="stabilityai/sdxl-turbo"),),
        allow_unlisted_models=True,
        bucket="artifacts",
        s3_access_key_id="AKIAEXAMPLEEXAMPLE00",
        s3_secret_access_key="s3-secret-canary-000000000000",
        cdn_base_url="http://cdn.test",
        rate_per_user="100000/second",
        rate_per_ip="100000/second",
    )
    webhooks = httpx.AsyncClient(transport=httpx.MockTransport(deaf))
    hub = httpx.AsyncClient(transport=httpx.ASGITransport(testing.FaultyHub(MIRROR)), follow_redirects=True)
    return create_app(given, clients=Clients(Handled(empty_account), webhooks, public, hub=hub))


KEPT = tempfile.TemporaryDirectory()  # as long as the module, whose tests are made of it
MIRROR = HubMirror(Path(KEPT.name), ports=(1, 2))
MIRROR.commit("stabilityai/sdxl-turbo", testing.model())
schema = schemathesis.openapi.from_asgi("/openapi.json", application())


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_answer_is_promised(case: schemathesis.Case[Any]) -> None:
    # Valid by the schema is not enough: region, pool and webhook URL have rules that a schema cannot tell.
    excluded: list[CheckFunction] = [positive_data_acceptance]
    if case.operation.path == "/v1/webhooks/key":
        excluded.append(ignored_auth)  # derived from whatever key is sent; nobody is asked about it
    case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=excluded, timeout=30)
