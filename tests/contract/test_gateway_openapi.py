"""The gateway against its own OpenAPI document: every answer to any request is one that the document promises.

First for an account that has nothing, then for one with an endpoint and a job, whose ids are put into the requests.
"""

import tempfile
from collections.abc import Callable, Coroutine
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
from visgate_contract.events import Artifact
from visgate_contract.jobs import MODEL_ID_ENV, WEBHOOK_SECRET_ENV, JobResult
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import JobRef, derive_webhook_secret
from visgate_contract.tasks import Task

pytestmark = pytest.mark.contract

KEY = "rpa_CANARYKEY0000000000000000000001"
JOBS_HOST = "jobs.test"
MODEL = "stabilityai/sdxl-turbo"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
SECRET = derive_webhook_secret(SIGNING_KEY, user_hash(KEY))
TASK_ID, RUNPOD_JOB = f"task_{'0' * 26}", "job1-u1"
NAME = EndpointName.build(
    user_hash=user_hash(KEY), model_id=MODEL, task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={"by": "tests"}
)
ENDPOINT: dict[str, Any] = {
    "id": "ep1",
    "name": str(NAME),
    "createdAt": "2026-11-01T00:00:00Z",
    "env": {MODEL_ID_ENV: MODEL, WEBHOOK_SECRET_ENV: SECRET},
    "dataCenterIds": ["EU-RO-1"],
    "networkVolumes": [],
    "timeout": 1000,
    "flashboot": "OFF",
    "workers": {"min": 0, "max": 2, "idleTimeout": 5},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
    "gpu": {"pools": ["ADA_24"], "allowedCudaVersions": [], "minCudaVersion": None},
}
MADE = Artifact(
    url=f"http://cdn.test/x/{TASK_ID}/0.png",
    content_type="image/png",
    width=8,
    height=8,
    size_bytes=9,
    sha256="0" * 64,
    seed=7,
)
RESULT = JobResult(task_id=TASK_ID, artifacts=(MADE,)).to_runpod()
JOB_ANSWERS: dict[str, dict[str, Any]] = {
    "health": {"jobs": {}, "workers": {"idle": 1, "ready": 1}},
    "status": {"status": "COMPLETED", "output": RESULT, "workerId": "w1"},
    "run": {"status": "IN_QUEUE"},
    "retry": {"status": "IN_QUEUE"},
    "cancel": {"status": "CANCELLED"},
}
JOB_ID = JobRef(ENDPOINT["id"], RUNPOD_JOB, TASK_ID).job_id(SECRET)
HAS = {"job_id": JOB_ID, "request_id": JOB_ID, "deployment_id": ENDPOINT["id"]}
SUBMISSIONS = {"upload", "submit", "deploy", "preflight", "fal_submit", "fal_submit_to", "generate_images"}


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


def _name(context: Any) -> str:
    return str(context.operation.definition.raw["operationId"])


def _path_parameters(context: Any) -> set[str]:
    return {str(parameter.name) for parameter in context.operation.path_parameters}


def deaf(request: httpx.Request) -> httpx.Response:
    message = "nobody there"
    raise httpx.ConnectError(message, request=request)


async def full_account(request: httpx.Request) -> httpx.Response:
    """Runpod for an account that has an endpoint for the model, with a worker, and a job that has ended well."""
    if request.headers["Authorization"] != f"Bearer {KEY}":
        return await empty_account(request)
    if request.url.host == JOBS_HOST:
        operation, *job = request.url.path.split("/")[3:]
        return httpx.Response(200, json={"id": (job or [RUNPOD_JOB])[0], **JOB_ANSWERS[operation]})
    path = request.url.path.removeprefix("/v2/")
    if request.method == "GET" and path == "serverless":
        return httpx.Response(200, json={"endpoints": [ENDPOINT]})
    if path == f"serverless/{ENDPOINT['id']}":
        return httpx.Response(204) if request.method == "DELETE" else httpx.Response(200, json=ENDPOINT)
    return await empty_account(request)


def empty_bucket(request: httpx.Request) -> httpx.Response:
    """The bucket, which has nothing and takes everything."""
    return httpx.Response(404 if request.method == "GET" else 200, headers={"etag": '"1"'})


def application(account: Callable[[httpx.Request], Coroutine[None, None, httpx.Response]] = empty_account) -> FastAPI:
    given = Settings(
        signing_key=SIGNING_KEY,
        runpod_api_url="http://api.test",
        runpod_jobs_url=f"http://{JOBS_HOST}/v2",
        image="visgate-worker:test",
        gpu_pools=("ADA_24",),
        hf_endpoint="http://hub.test:1",
        models=(OfferedModel(model_id=MODEL),),
        allow_unlisted_models=True,
        bucket="artifacts",
        s3_endpoint="http://s3.test",
        s3_access_key_id="AKIAEXAMPLEEXAMPLE00",
        s3_secret_access_key="s3-secret-canary-000000000000",
        cdn_base_url="http://cdn.test",
        rate_per_user="100000/second",
        rate_per_ip="100000/second",
    )
    webhooks = httpx.AsyncClient(transport=httpx.MockTransport(deaf))
    store = httpx.AsyncClient(transport=httpx.MockTransport(empty_bucket))
    hub = httpx.AsyncClient(transport=httpx.ASGITransport(testing.FaultyHub(MIRROR)), follow_redirects=True)
    return create_app(given, clients=Clients(Handled(account), webhooks, public, hub=hub, store=store))


KEPT = tempfile.TemporaryDirectory()  # as long as the module, whose tests are made of it
MIRROR = HubMirror(Path(KEPT.name), ports=(1, 2))
MIRROR.commit(MODEL, testing.model())
schema = schemathesis.openapi.from_asgi("/openapi.json", application())
# The log of an endpoint is left out: it goes on until its reader hangs up, which no generated request does.
of_things = schemathesis.openapi.from_asgi("/openapi.json", application(full_account)).exclude(
    operation_id="endpoint_logs"
)


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


@of_things.include(
    lambda context: bool(set(HAS) & _path_parameters(context)) or _name(context) in SUBMISSIONS
).parametrize()
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_answer_about_what_there_is_is_promised(case: schemathesis.Case[Any]) -> None:
    is_right = case.meta is not None and case.meta.generation.mode.is_positive
    if is_right:
        case.path_parameters |= {name: HAS[name] for name in set(HAS) & set(case.path_parameters)}
        if {"owner", "alias"} <= set(case.path_parameters):
            case.path_parameters["owner"], case.path_parameters["alias"] = MODEL.split("/")
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = MODEL
    found = case.call_and_validate(
        headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=[positive_data_acceptance], timeout=30
    )
    if is_right and set(HAS) & set(case.path_parameters):
        assert found.status_code != 404, found.text
