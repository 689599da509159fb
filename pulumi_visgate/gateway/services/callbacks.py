"""Runpod's own word that a job has ended, turned into the job's last event where no worker could send it.

The call is a hint: it says nothing that its ticket does not allow, and an event that the worker has delivered itself is
not sent again. A receiver that does not acknowledge makes the call fail, and Runpod repeats it.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services import fal, job_view
from pulumi_visgate.gateway.services.announce import Courier
from pulumi_visgate.gateway.services.fal import FalSigner
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.keys import Keys, UserKeys
from pulumi_visgate.gateway.services.tickets import PATH, Style, Ticket, TicketOffice
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event
from visgate_contract.jobs import JobInput
from visgate_contract.signing import JobRef

log = logging.getLogger(__name__)

TICKET_MARGIN_S = 3_600
DELIVERY_S = 8.0
"""Runpod waits ten seconds for an answer."""


class Outcome(StrEnum):
    """What became of a callback."""

    DELIVERED = "delivered"
    NOTHING_TO_DO = "nothing_to_do"
    RECEIVER_GONE = "receiver_gone"


class Callbacks:
    """Makes callback URLs and answers them.

    Args:
        settings: Public URL and how long jobs live.
        keys: Sign in users' names.
        courier: Delivers.
        seen: Told of every job that Runpod reports.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        courier: Courier,
        *,
        seen: Callable[[JobStatus], None] = lambda _job: None,
    ) -> None:
        self._seen = seen
        self._keys = keys
        self._base = settings.public_url + PATH if settings.can_be_called_back else None
        ttl_s = settings.job_ttl_s + settings.job_timeout_s + TICKET_MARGIN_S
        self._office = TicketOffice(keys.signing_keys, ttl_s=ttl_s)
        self._courier = courier
        self._fal = tuple(map(FalSigner, keys.signing_keys))

    def jwks(self) -> list[dict[str, str]]:
        """Return the public keys that verify webhooks in fal's form (RFC 7517)."""
        return [signer.jwk() for signer in self._fal]

    def url(
        self, *, user_hash: str, endpoint_id: str, job: JobInput, webhook_url: str | None, style: Style
    ) -> str | None:
        """Return where Runpod reports the end of a job, or None if nobody wants to know or Runpod cannot reach it.

        Args:
            user_hash: Whose job.
            endpoint_id: Where it goes.
            job: What is submitted.
            webhook_url: Who wants to know.
            style: What that one expects.
        """
        if self._base is None or webhook_url is None:
            return None
        ticket = Ticket(
            task_id=job.task_id,
            user_hash=user_hash,
            endpoint_id=endpoint_id,
            model_id=job.model_id,
            task=job.params.task,
            webhook_url=webhook_url,
            style=style,
        )
        return f"{self._base}{self._office.seal(ticket)}"

    async def take(self, token: str, job: JobStatus, sent_input: Any) -> Outcome:
        """Tell the receiver of a job's end, unless the job's worker has done so.

        Args:
            token: The ticket.
            job: What Runpod says about the job.
            sent_input: The job's input, which Runpod repeats.

        Raises:
            ContractError: The token is no ticket of this platform (`not_found`).
            Refused: The call is about another job (404), or the receiver did not acknowledge (502).
        """
        ticket = self._office.open(token)
        given = sent_input if isinstance(sent_input, dict) else {}
        if given.get("task_id", ticket.task_id) != ticket.task_id:
            raise Refused(404, "This callback belongs to another job.", code=ErrorCode.NOT_FOUND)
        self._seen(job)
        keys = self._keys.of(ticket.user_hash)
        masking.current().learn(keys.secrets)
        event = Timeline(*_named(ticket, job, keys), about=(ticket.model_id, ticket.task)).end(job)
        if event is None:
            return Outcome.NOTHING_TO_DO
        if ticket.style is Style.FAL:
            return await self._deliver_to_fal(ticket, job, event, keys, given)
        if event.id in job_view.told(job):
            return Outcome.NOTHING_TO_DO

        body = _masked(event.model_dump_json(exclude_none=True))

        def headers() -> dict[str, str]:
            return keys.signer.headers(event.id, body, timestamp=datetime.now(UTC))

        return await self._deliver(ticket, event, body, headers)

    async def _deliver_to_fal(
        self, ticket: Ticket, job: JobStatus, event: Event, keys: UserKeys, given: Mapping[str, Any]
    ) -> Outcome:
        """Deliver a result as fal does. Workers do not know that form, so it always comes from here."""
        ref, job_id = _named(ticket, job, keys)
        params = given.get("params")
        prompt = str(params.get("prompt", "")) if isinstance(params, dict) else ""
        view = job_view.view(ref, job_id, job)
        body = _masked(json.dumps(fal.webhook_of(view, prompt=prompt)))

        def headers() -> dict[str, str]:
            now = datetime.now(UTC)
            signed = self._fal[0].headers(body, request_id=job_id, user_id=ticket.user_hash, timestamp=now)
            return keys.signer.headers(event.id, body, timestamp=now) | signed

        return await self._deliver(ticket, event, body, headers)

    async def _deliver(
        self, ticket: Ticket, event: Event, body: bytes, headers: Callable[[], Mapping[str, str]]
    ) -> Outcome:
        receipt = await self._courier.deliver(ticket.webhook_url, body, headers, deadline_s=DELIVERY_S)
        if receipt.is_gone:
            log.info("receiver of %s is gone", event.id)
            return Outcome.RECEIVER_GONE
        if not receipt.is_acknowledged:
            log.warning("event %s was not acknowledged: %s", event.id, receipt)
            raise Refused(
                502,
                f"The receiver of this job's events did not acknowledge: {receipt}.",
                code=ErrorCode.WEBHOOK_DELIVERY_FAILED,
                hint="Call again: the event keeps its id.",
            )
        return Outcome.DELIVERED


def _named(ticket: Ticket, job: JobStatus, keys: UserKeys) -> tuple[JobRef, str]:
    ref = JobRef(ticket.endpoint_id, job.id, ticket.task_id)
    return ref, ref.job_id(keys.secrets[0])


def _masked(text: str) -> bytes:
    return masking.current().text(text).encode()
