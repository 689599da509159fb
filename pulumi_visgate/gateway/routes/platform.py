"""What the platform offers, the caller's webhook secret, and probes."""

from fastapi import APIRouter, Request

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.responses import bare_problems
from pulumi_visgate.gateway.routes.schemas import KeySet, Model, Models, Probe, WebhookKey
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
    "/v1/webhooks/key", summary="Your webhook secret", tags=["platform"], responses=bare_problems(401, 422, 429)
)
async def webhook_key(caller: CurrentCaller) -> WebhookKey:
    """Return the secret that signs the webhooks of this Runpod API key. Give it to a Standard Webhooks library."""
    return WebhookKey(secret=caller.webhook_secret)


@router.get("/.well-known/jwks.json", summary="Public keys", tags=["platform"], responses=bare_problems(429))
async def jwks(request: Request) -> KeySet:
    """Return the keys that verify webhooks in fal's form (JSON Web Key Set). No key is needed."""
    return KeySet(keys=State.of(request).callbacks.jwks())


@router.get("/healthz", summary="Is the process alive", tags=["probes"])
async def healthz() -> Probe:
    """Answer as long as the process runs."""
    return Probe(status="ok")


@router.get("/readyz", summary="Can it serve", tags=["probes"])
async def readyz(request: Request) -> Probe:
    """Answer once settings are read and connections can be made; it asks nobody, as it has no key."""
    State.of(request)
    return Probe(status="ready")
