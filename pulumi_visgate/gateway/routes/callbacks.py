"""`/v1/callbacks`: what Runpod calls, not people."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from pulumi_visgate.gateway.routes.responses import bare_problems
from pulumi_visgate.gateway.routes.schemas import CallbackAnswer, Completion
from pulumi_visgate.gateway.services.tickets import MAX_TOKEN_CHARACTERS, PATH
from pulumi_visgate.gateway.state import State

router = APIRouter(tags=["callbacks"])

Token = Annotated[str, Path(max_length=MAX_TOKEN_CHARACTERS, description="Sealed for one job by this platform.")]


@router.post(f"{PATH}{{token}}", summary="Hear that a job has ended", responses=bare_problems(404, 413, 422, 429, 502))
async def completed(token: Token, body: Completion, request: Request) -> CallbackAnswer:
    """Send a job's last event to its receiver, if no worker could. Runpod calls this; the token is the permission."""
    outcome = await State.of(request).callbacks.take(token, body, body.input)
    return CallbackAnswer(outcome=outcome)
