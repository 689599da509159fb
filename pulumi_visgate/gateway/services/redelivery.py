"""Events sent again: read from a job's ledger and from what Runpod still knows, signed anew under their own ids."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from pulumi_visgate.gateway.problems import InvalidField
from pulumi_visgate.gateway.services.job_view import Timeline
from pulumi_visgate.gateway.services.ledgers import Ledgers
from pulumi_visgate.gateway.services.tickets import Style, Ticket
from pulumi_visgate.gateway.services.webhooks import Webhooks, outcome
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.events import Event, Status
from visgate_contract.ledger import Delivery, Ledger
from visgate_contract.signing import JobRef


class Which(StrEnum):
    """Which events are sent again."""

    MISSED = "missed"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Order:
    """What is sent again, and where to.

    Args:
        which: Which events.
        webhook_url: Another receiver than the job's own.
    """

    which: Which = Which.MISSED
    webhook_url: str | None = field(default=None, repr=False)


class Redelivery:
    """Sends events again.

    Args:
        ledgers: What became of them.
        webhooks: Sends them.
        deadline_s: Seconds for one call.
    """

    def __init__(self, ledgers: Ledgers, webhooks: Webhooks, *, deadline_s: float) -> None:
        self._ledgers = ledgers
        self._webhooks = webhooks
        self._deadline_s = deadline_s

    def known(self, timeline: Timeline, job: JobStatus | None) -> tuple[Delivery, ...]:
        """Return every event of a job that is known anywhere, and what became of it, in order.

        Args:
            timeline: Of the job, with its ledger.
            job: Runpod's status, as long as Runpod keeps it.

        Raises:
            ContractError: Nobody knows the job any more (`not_found`).
        """
        ledger = timeline.ledger
        told = {one.event.id: one for one in ledger.deliveries} if ledger is not None else {}
        for event in timeline.events(job) if job is not None else ():
            told.setdefault(event.id, Delivery(event=event))
        if not told:
            detail = "Nothing is known of this job's events any more."
            raise ContractError(detail, hint="Ledgers live as long as the bucket keeps them.", code=ErrorCode.NOT_FOUND)
        return tuple(sorted(told.values(), key=lambda one: one.event.data.sequence))

    async def replay(
        self, user_hash: str, ref: JobRef, timeline: Timeline, job: JobStatus | None, order: Order
    ) -> tuple[Delivery, ...]:
        """Send events in order, until one does not arrive, and note what became of them.

        Args:
            user_hash: Whose job.
            ref: Which.
            timeline: Of the job, with its ledger.
            job: Runpod's status, as long as Runpod keeps it.
            order: What is sent where.

        Raises:
            ContractError: Nobody knows the job any more (`not_found`).
            InvalidField: The receiver is against the policy, or is not known.
        """
        known = self.known(timeline, job)
        to = await self._receiver(user_hash, ref, timeline.ledger, known[0].event, order.webhook_url)
        chosen = _chosen(known, order.which, to.style)
        until = asyncio.get_running_loop().time() + self._deadline_s
        done: list[Delivery] = []
        for event in (one.event for one in chosen):
            left_s = until - asyncio.get_running_loop().time()
            if left_s <= 0 or (done and done[-1].delivered_at is None):
                done.append(Delivery(event=event, answer="not tried: the one before did not arrive"))
            else:
                done.append(outcome(event, await self._webhooks.send(to, event, deadline_s=left_s)))
        await self._ledgers.note(to, ref.runpod_job_id, timeline.ledger, *(one for one in done if one.tries))
        return tuple(done)

    async def _receiver(
        self, user_hash: str, ref: JobRef, ledger: Ledger | None, event: Event, webhook_url: str | None
    ) -> Ticket:
        found = self._ledgers.receiver(ledger, user_hash) if ledger is not None else None
        if webhook_url is not None:
            await self._webhooks.permit(webhook_url)
            style = found.style if found is not None else Style.STANDARD
            data = event.data
            return Ticket(data.task_id, user_hash, ref.endpoint_id, data.model_id, data.task, webhook_url, style)
        if found is None:
            detail = "is needed: nothing says where the events of this job go."
            raise InvalidField(field="webhook_url", detail=detail, hint="Say where to send them.")
        return found


def _chosen(known: tuple[Delivery, ...], which: Which, style: Style) -> tuple[Delivery, ...]:
    """Return what is sent: what has never arrived and still matters, or the last event if everything has."""
    ends = tuple(one for one in known if one.event.data.status.is_terminal)
    if style is Style.FAL:
        return ends[-1:]
    if which is Which.ALL:
        return known
    missed = tuple(one for one in known if one.delivered_at is None and _matters(one.event))
    return missed or known[-1:]


def _matters(event: Event) -> bool:
    """The gateway told `provisioning` itself, and progress is of no use once there is an end."""
    return event.data.status not in {Status.PROVISIONING, Status.PROGRESS}
