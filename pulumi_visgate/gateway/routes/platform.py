"""What the platform offers, the caller's webhook secret, and probes."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.responses import bare_problems
from pulumi_visgate.gateway.routes.schemas import KeySet, Model, Models, Probe, WebhookKey
from pulumi_visgate.gateway.state import State
from visgate_contract.signing import TENANT_LENGTH

router = APIRouter()

KEYS_MAX_AGE_S = 3_600
Tenant = Annotated[
    str,
    Path(
        pattern=f"^[0-9a-f]{{{TENANT_LENGTH}}}$",
        description="Public name of a user.",
        examples=["3f2a9c0d4b5e6f708192a3b4c5d6e7f8"],
    ),
]


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
async def webhook_key(caller: CurrentCaller, request: Request) -> WebhookKey:
    """Return what verifies the webhooks of this Runpod API key: a secret, or a public key that anyone may have.

    Both fit Standard Webhooks libraries. While the platform changes its signing key there is a previous secret, which
    signs, too, and the key set holds both public keys.
    """
    settings, keys = State.of(request).settings, caller.keys
    return WebhookKey(
        secret=keys.secrets[0],
        previous_secret=keys.secrets[1] if len(keys.secrets) > 1 else None,
        public_key=keys.private[0].public,
        jwks_url=f"{settings.public_url}/v1/webhooks/{keys.tenant}/jwks.json",
    )


@router.get(
    "/v1/webhooks/{tenant}/jwks.json",
    summary="A user's public keys",
    tags=["platform"],
    responses=bare_problems(422, 429),
)
async def webhook_keys(tenant: Tenant, request: Request, response: Response) -> KeySet:
    """Return the keys that verify a user's webhooks and receipts (JSON Web Key Set). No key is needed.

    `GET /v1/webhooks/key` tells users the address of theirs. Every name has keys; those of a name that is nobody's sign
    nothing.
    """
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE_S}"
    return KeySet(keys=State.of(request).keys.public(tenant))


@router.get(
    "/.well-known/jwks.json", summary="Public keys of fal's form", tags=["platform"], responses=bare_problems(429)
)
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
