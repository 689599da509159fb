"""`/v1/deployments`: endpoints ready for a model."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response, status

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.routes.schemas import (
    ENDPOINT_ID,
    Deployment,
    DeploymentAnswer,
    DeploymentLinks,
    DeploymentRequest,
    Deployments,
    Expected,
)
from pulumi_visgate.gateway.services import deployments
from pulumi_visgate.gateway.services.directory import Candidate
from pulumi_visgate.gateway.services.orders import Warmth
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.gateway.state import State

router = APIRouter(tags=["deployments"])
submissions = APIRouter(tags=["deployments"])

EndpointId = Annotated[str, Path(pattern=ENDPOINT_ID, examples=["4m7x2k9q"])]


@submissions.post(
    "/v1/deployments",
    summary="Have an endpoint ready for a model",
    responses={
        200: {"description": "A worker is started: `warm_ready`.", "model": DeploymentAnswer},
        202: {"description": "The endpoint exists, a worker starts with the first job: `accepted_cold`."},
        **problems(404, 413, 503),
    },
    status_code=status.HTTP_202_ACCEPTED,
)
async def deploy(
    body: DeploymentRequest, caller: CurrentCaller, request: Request, response: Response
) -> DeploymentAnswer:
    """Match one of your endpoints, or make one in your Runpod account. It costs nothing until a worker starts.

    With `warm_for_s` a worker starts now, loads the model and stays: ahead of need, and for a bounded time.
    """
    state = State.of(request)
    accepted = await state.submitter.deploy(caller, body.asked(), webhook_url=body.webhook_url)
    if accepted.warmth is Warmth.WARM_READY:
        response.status_code = status.HTTP_200_OK
    base, endpoint_id = state.settings.public_url, accepted.endpoint_id
    return DeploymentAnswer(
        status=accepted.warmth,
        task_id=accepted.task_id,
        deployment_id=endpoint_id,
        endpoint_id=endpoint_id,
        endpoint_url=_url(state.settings, endpoint_id),
        model=body.model,
        task=body.task,
        job_id=accepted.job_id,
        expected=Expected.of(accepted.expected),
        links=DeploymentLinks(jobs=f"{base}/v1/jobs", logs=f"{base}/v1/endpoints/{endpoint_id}/logs"),
    )


@router.get("/v1/deployments", summary="List your endpoints", responses=problems())
async def list_deployments(caller: CurrentCaller, request: Request) -> Deployments:
    """List the endpoints of your Runpod account that this product made, oldest first."""
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        found = await deployments.own(state.directory, caller)
    return Deployments(deployments=[_shown(state.settings, candidate) for candidate in found])


@router.delete(
    "/v1/deployments/{deployment_id}",
    summary="Delete one of your endpoints",
    responses=problems(404, 409),
    status_code=status.HTTP_204_NO_CONTENT,
)
async def delete_deployment(deployment_id: EndpointId, caller: CurrentCaller, request: Request) -> None:
    """Delete an endpoint that a gateway made. Endpoints of a Pulumi program are left to Pulumi."""
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        await deployments.remove(state.directory, caller, deployment_id)


def _url(settings: Settings, endpoint_id: str) -> str:
    return f"{settings.runpod_jobs_url}/{endpoint_id}"


def _shown(settings: Settings, endpoint: Candidate) -> Deployment:
    return Deployment(
        deployment_id=endpoint.id,
        endpoint_id=endpoint.id,
        endpoint_url=_url(settings, endpoint.id),
        name=endpoint.label,
        model=endpoint.model_id,
        task=endpoint.name.task,
        policy=endpoint.name.policy,
        managed_by="pulumi" if endpoint.generation is None else "gateway",
        workers_min=endpoint.workers.min or 0,
        workers_max=endpoint.workers.max or 0,
        data_center_ids=endpoint.data_center_ids,
        created_at=endpoint.created_at,
    )
