"""What the platform offers, keys of fal's form, and probes."""

from fastapi import APIRouter, Request

from pulumi_visgate.gateway.routes.responses import bare_problems
from pulumi_visgate.gateway.routes.schemas import KeySet, Model, Models, Probe
from pulumi_visgate.gateway.state import State

router = APIRouter()


@router.get("/v1/models", summary="What this platform offers", tags=["platform"], responses=bare_problems(429))
async def models(request: Request) -> Models:
    """List the models that new endpoints can be made for, with their tasks. No key is needed."""
    settings = State.of(request).settings
    return Models(
        models=[
            Model(model=model.model_id, revision=model.revision, tasks=model.tasks, policy=model.policy)
            for model in settings.models
        ]
    )


@router.get(
    "/.well-known/jwks.json", summary="Public keys of fal's form", tags=["platform"], responses=bare_problems(429)
)
async def jwks(request: Request) -> KeySet:
    """Return the keys that verify webhooks in fal's form (JSON Web Key Set). No key is needed."""
    return KeySet(keys=State.of(request).webhooks.jwks())


@router.get("/healthz", summary="Is the process alive", tags=["probes"])
async def healthz() -> Probe:
    """Answer as long as the process runs."""
    return Probe(status="ok")


@router.get("/readyz", summary="Can it serve", tags=["probes"])
async def readyz(request: Request) -> Probe:
    """Answer once settings are read and connections can be made; it asks nobody, as it has no key."""
    State.of(request)
    return Probe(status="ready")
