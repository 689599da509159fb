"""`/v1/preflight` and `/v1/placements`: can it run, where, and at what price, before anything is created."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.preflight_schemas import (
    Placement,
    PlacementQuery,
    Placements,
    PreflightAnswer,
    PreflightRequest,
)
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State

router = APIRouter(tags=["preflight"])


@router.post("/v1/preflight", summary="Can this run, where, and at what price", responses=problems(413))
async def preflight(body: PreflightRequest, caller: CurrentCaller, request: Request) -> PreflightAnswer:
    """Look at a request from all sides and create nothing. Send what you would send to `POST /v1/jobs`.

    The same checks run before anything is created for a job or a deployment; the first failed one is the refusal.
    """
    state = State.of(request)
    async with deadline(state.settings.deadline_s):
        asked = body.asked()
        serving = await state.provisioner.match(caller, state.provisioner.wish(caller, asked))
        plan = await state.planner.preflight(caller, asked, body.input)
    return PreflightAnswer.of(
        plan,
        model=body.model,
        task=body.task,
        available_gb=state.settings.container_disk_gb,
        endpoint_id=serving.id if serving else None,
    )


@router.get("/v1/placements", summary="Where workers would run, and why", responses=problems(404))
async def placements(wanted: Annotated[PlacementQuery, Query()], caller: CurrentCaller, request: Request) -> Placements:
    """List data centers and GPU pools with prices, stock and a score that says why; for any model, or for one.

    A model's volumes, its size, your place and that of the artifact store count. Endpoints are made at the first.
    """
    state = State.of(request)
    asked = Asked(wanted.model or "", wanted.task, wanted.region, wanted.gpu_pool)
    async with deadline(state.settings.deadline_s):
        await state.provisioner.match(caller, state.provisioner.wish(caller, asked))  # a wrong key is told
        spots = await state.planner.placements(caller, asked)
    near = caller.place.name if caller.place else None
    found = [Placement.of(spot) for spot in spots]
    return Placements(model=wanted.model, task=wanted.task, near=near, placements=found)
