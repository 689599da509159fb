"""`/v1/webhooks` and a job's webhook: what verifies deliveries, what became of them, and sending them again."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.jobs import JobId
from pulumi_visgate.gateway.routes.responses import bare_problems, problems
from pulumi_visgate.gateway.routes.schemas import KeySet, ReplayRequest, WebhookDeliveries, WebhookDelivery, WebhookKey
from pulumi_visgate.gateway.routes.streams import timeline_of
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.redelivery import Order
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.ledger import Delivery
from visgate_contract.signing import TENANT_LENGTH, JobRef

router = APIRouter(tags=["webhooks"])

KEYS_MAX_AGE_S = 3_600
Tenant = Annotated[
    str,
    Path(
        pattern=f"^[0-9a-f]{{{TENANT_LENGTH}}}$",
        description="Public name of a user.",
        examples=["3f2a9c0d4b5e6f708192a3b4c5d6e7f8"],
    ),
]


@router.get("/v1/webhooks/key", summary="Your webhook secret", responses=bare_problems(401, 422, 429))
async def webhook_key(caller: CurrentCaller, request: Request) -> WebhookKey:
    """Return what verifies the webhooks of this Runpod API key: a secret, or a public key that anyone may have.

    Both fit Standard Webhooks libraries. While the platform changes its signing key there is a previous secret, which
    signs, too, and the key set holds both public keys.
    """
    base, keys = State.of(request).settings.public_url, caller.keys
    return WebhookKey(
        secret=keys.secrets[0],
        previous_secret=keys.secrets[1] if len(keys.secrets) > 1 else None,
        public_key=keys.private[0].public,
        jwks_url=f"{base}/v1/webhooks/{keys.tenant}/jwks.json",
    )


@router.get(
    "/v1/webhooks/{tenant}/jwks.json",
    summary="A user's public keys",
    responses=bare_problems(422, 429),
)
async def webhook_keys(tenant: Tenant, request: Request, response: Response) -> KeySet:
    """Return the keys that verify a user's webhooks and receipts (JSON Web Key Set). No key is needed.

    `GET /v1/webhooks/key` tells users the address of theirs. Every name has keys; those of a name that is nobody's sign
    nothing.
    """
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE_S}"
    return KeySet(keys=State.of(request).keys.public(tenant))


@router.get("/v1/jobs/{job_id}/webhook", summary="What became of a job's events", responses=problems(404))
async def deliveries(job_id: JobId, caller: CurrentCaller, request: Request) -> WebhookDeliveries:
    """Show every event of a job with what became of it, from the ledger in the platform's bucket.

    The ledger lives longer than Runpod's own memory of the job, which is about half an hour.
    """
    state, ref = State.of(request), caller.ref(job_id)
    timeline, job = await _known(state, caller, ref, job_id)
    return _answer(job_id, ref, state.redelivery.known(timeline, job))


@router.post("/v1/jobs/{job_id}/webhook/replay", summary="Send a job's events again", responses=problems(404))
async def replay(
    job_id: JobId,
    caller: CurrentCaller,
    request: Request,
    body: Annotated[ReplayRequest | None, Body()] = None,
) -> WebhookDeliveries:
    """Send the events that never arrived to the job's receiver, or its last one if all did; each keeps its id.

    They are signed anew and sent in order, until one is not acknowledged. The answer says what became of each.
    """
    state, ref, wanted = State.of(request), caller.ref(job_id), body or ReplayRequest()
    timeline, job = await _known(state, caller, ref, job_id)
    order = Order(wanted.events, wanted.webhook_url)
    return _answer(job_id, ref, await state.redelivery.replay(caller.user_hash, ref, timeline, job, order))


async def _known(state: State, caller: Caller, ref: JobRef, job_id: str) -> tuple[Timeline, JobStatus | None]:
    async with deadline(state.settings.deadline_s):
        timeline = await timeline_of(state, caller, ref, job_id)
        timeline.ledger = await state.ledgers.read(caller.user_hash, ref.task_id) if ref.task_id else None
        try:
            return timeline, await caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
        except NotFound:  # Runpod forgets sooner than the ledger
            return timeline, None


def _answer(job_id: str, ref: JobRef, known: tuple[Delivery, ...]) -> WebhookDeliveries:
    answer = WebhookDeliveries(
        job_id=job_id,
        task_id=ref.task_id or known[0].event.data.task_id,
        delivered=all(one.delivered_at is not None for one in known),
        deliveries=[
            WebhookDelivery(
                webhook_id=one.event.id,
                type=one.event.type,
                attempt=one.event.data.attempt,
                sequence=one.event.data.sequence,
                timestamp=one.event.timestamp,
                delivered_at=one.delivered_at,
                tries=one.tries,
                detail=one.answer,
            )
            for one in known
        ],
    )
    return WebhookDeliveries.model_validate_json(masking.current().text(answer.model_dump_json()))
