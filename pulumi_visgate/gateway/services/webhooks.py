"""Events that the gateway delivers itself, in the form that their receiver expects."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from pulumi_visgate.gateway import egress, masking
from pulumi_visgate.gateway.services import fal
from pulumi_visgate.gateway.services.announce import Courier, Receipt
from pulumi_visgate.gateway.services.fal import FalSigner
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.services.keys import Keys
from pulumi_visgate.gateway.services.tickets import Style, Ticket
from pulumi_visgate.runpod.models.job import JobState
from visgate_contract.events import Event
from visgate_contract.ledger import Delivery


class Webhooks:
    """Sends events to receivers.

    Args:
        keys: Sign in users' names.
        courier: Delivers.
    """

    def __init__(self, keys: Keys, courier: Courier) -> None:
        self._keys = keys
        self._courier = courier
        self._fal = tuple(map(FalSigner, keys.signing_keys))

    def jwks(self) -> list[dict[str, str]]:
        """Return the public keys that verify webhooks in fal's form (RFC 7517)."""
        return [signer.jwk() for signer in self._fal]

    async def permit(self, url: str) -> None:
        """See that a receiver is allowed.

        Raises:
            InvalidField: It is against the policy.
        """
        await egress.resolve(egress.check(url, self._courier.policy), self._courier.policy, self._courier.resolver)

    async def send(
        self, to: Ticket, event: Event, *, deadline_s: float, view: JobView | None = None, prompt: str = ""
    ) -> Receipt:
        """Send an event until its receiver has it or the time is over; every secret in it is masked.

        Args:
            to: The receiver.
            event: The event; receivers of fal's form understand the last one of a job only.
            deadline_s: Seconds for everything.
            view: The job, for fal's form; what the event says of it when left out.
            prompt: What was asked, for fal's form, where it is known.
        """
        keys, is_fal = self._keys.of(to.user_hash), to.style is Style.FAL
        text = json.dumps(fal.webhook_of(view or _view(event), prompt=prompt)) if is_fal else event.body().decode()
        body = masking.current().text(text).encode()

        def headers() -> Mapping[str, str]:
            now = datetime.now(UTC)
            signed = keys.signer.headers(event.id, body, timestamp=now)
            if not is_fal:
                return signed
            request_id = event.data.job_id or ""
            return signed | self._fal[0].headers(body, request_id=request_id, user_id=to.user_hash, timestamp=now)

        return await self._courier.deliver(to.webhook_url, body, headers, deadline_s=deadline_s)


def outcome(event: Event, receipt: Receipt) -> Delivery:
    """Return what became of an event, for its job's ledger."""
    if receipt.is_acknowledged:
        return Delivery(event=event, tries=receipt.tries, delivered_at=datetime.now(UTC))
    return Delivery(event=event, tries=receipt.tries, answer=str(receipt))


def _view(event: Event) -> JobView:
    """Return the job as its last event tells it."""
    data = event.data
    return JobView(
        job_id=data.job_id or "",
        task_id=data.task_id,
        endpoint_id=data.endpoint_id or "",
        worker_id=data.worker_id,
        status=data.status,
        runpod_status=JobState.FAILED if data.error else JobState.COMPLETED,
        artifacts=data.artifacts,
        load=data.load,
        timings=data.timings,
        error=data.error,
    )
