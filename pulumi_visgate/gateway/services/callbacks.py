"""Runpod's own word that a job has ended, turned into the job's last event where no worker could send it.

The call is a hint: it says nothing that its ticket does not allow, and an event that the worker has delivered itself is
not sent again. A receiver that does not acknowledge makes the call fail, and Runpod repeats it. What became of the
event is kept in the job's ledger.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services import job_view
from pulumi_visgate.gateway.services.announce import Receipt
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.keys import Keys, UserKeys
from pulumi_visgate.gateway.services.ledgers import Ledgers
from pulumi_visgate.gateway.services.tickets import PATH, Purpose, Style, Ticket, TicketOffice
from pulumi_visgate.gateway.services.webhooks import Webhooks, outcome
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event
from visgate_contract.ledger import Ledger
from visgate_contract.signing import JobRef

log = logging.getLogger(__name__)

TICKET_MARGIN_S = 3_600
DELIVERY_S = 6.0
"""Runpod waits ten seconds for an answer; the ledger is read before and written after."""


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
        webhooks: Sends events.
        ledgers: Know what workers have told.
        seen: Told of every job that Runpod reports.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        webhooks: Webhooks,
        ledgers: Ledgers,
        *,
        seen: Callable[[JobStatus], None] = lambda _job: None,
    ) -> None:
        self._seen = seen
        self._keys = keys
        self._base = settings.public_url + PATH if settings.can_be_called_back else None
        ttl_s = settings.job_ttl_s + settings.job_timeout_s + TICKET_MARGIN_S
        self._office = TicketOffice(keys.signing_keys, purpose=Purpose.CALLBACK, ttl_s=ttl_s)
        self._webhooks = webhooks
        self._ledgers = ledgers

    def url(self, ticket: Ticket | None) -> str | None:
        """Return where Runpod reports the end of a job, or None if nobody wants to know or Runpod cannot reach it.

        Args:
            ticket: The job and who wants to know.
        """
        return f"{self._base}{self._office.seal(ticket)}" if self._base is not None and ticket is not None else None

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
        ref, job_id = _named(ticket, job, keys)
        timeline = Timeline(ref, job_id, about=(ticket.model_id, ticket.task))
        if not job.done or (ticket.style is Style.STANDARD and not timeline.lacks_end(job)):
            return Outcome.NOTHING_TO_DO
        ledger = timeline.ledger = await self._ledgers.read(ticket.user_hash, ticket.task_id)
        event = timeline.end(job)
        if event is None or _was_delivered(ledger, event):
            return Outcome.NOTHING_TO_DO
        params = given.get("params")
        prompt = str(params.get("prompt", "")) if isinstance(params, dict) else ""
        view = job_view.view(ref, job_id, job)
        receipt = await self._webhooks.send(ticket, event, deadline_s=DELIVERY_S, view=view, prompt=prompt)
        await self._ledgers.note(ticket, job.id, ledger, outcome(event, receipt))
        return _judged(event, receipt)


def _judged(event: Event, receipt: Receipt) -> Outcome:
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


def _was_delivered(ledger: Ledger | None, event: Event) -> bool:
    deliveries = ledger.deliveries if ledger is not None else ()
    return any(one.event.id == event.id and one.delivered_at is not None for one in deliveries)


def _named(ticket: Ticket, job: JobStatus, keys: UserKeys) -> tuple[JobRef, str]:
    ref = JobRef(ticket.endpoint_id, job.id, ticket.task_id, ticket.start_timeout_s)
    return ref, ref.job_id(keys.secrets[0])
