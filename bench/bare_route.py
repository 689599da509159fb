"""The least that a gateway of the same server and framework can be: it reads the request, answers, and asks nobody."""

from fastapi import FastAPI

from pulumi_visgate.gateway.routes.schemas import (
    DeploymentAnswer,
    DeploymentLinks,
    DeploymentRequest,
    JobAnswer,
    JobLinks,
    JobRequestBody,
)
from pulumi_visgate.gateway.services.orders import Warmth

app = FastAPI(openapi_url=None)
_TASK_ID = "task_01k5d8v0c2n4q6s8t0w2y4z6a8"
_LINK = (
    "http://127.0.0.1:8080/v1/jobs/job_bench0endpoint_00000000-0000-4000-8000-000000000000-e1_0123456789abcdef01234567"
)


@app.post("/v1/jobs", status_code=202)
async def submit(body: JobRequestBody) -> JobAnswer:
    """Answer in the words of the gateway."""
    return JobAnswer(
        status=Warmth.WARM_READY,
        task_id=_TASK_ID,
        job_id=_LINK.rpartition("/")[2],
        endpoint_id="bench0endpoint",
        model=body.model,
        task=body.task,
        links=JobLinks(self=_LINK, events=_LINK, logs=_LINK, cancel=_LINK, retry=_LINK),
    )


@app.post("/v1/deployments")
async def deploy(body: DeploymentRequest) -> DeploymentAnswer:
    """Answer in the words of the gateway."""
    return DeploymentAnswer(
        status=Warmth.WARM_READY,
        task_id=_TASK_ID,
        deployment_id="bench0endpoint",
        endpoint_id="bench0endpoint",
        endpoint_url="https://api.runpod.ai/v2/bench0endpoint",
        model=body.model,
        task=body.task,
        links=DeploymentLinks(jobs=_LINK, logs=_LINK),
    )


@app.get("/")
async def ready() -> None:
    """Tell that the server is there."""
