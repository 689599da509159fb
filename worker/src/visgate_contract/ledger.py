"""The delivery ledger: what became of a job's events, one object for each job in the platform's own bucket.

The worker writes it while the job runs, by presigned requests that its input grants. The gateway reads it to send
events again, and writes it when it had to tell the end of a job itself. So nobody has to remember a job in between.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from visgate_contract.events import Event

CONTENT_TYPE = "application/json"
PREFIX = ".visgate/ledger"
"""Where ledgers lie in the bucket. No CDN route serves a name that begins with a dot."""

MAX_DELIVERIES = 100


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LedgerGrant(_Wire):
    """What a worker needs to keep a job's ledger.

    Args:
        get_url: Presigned URL that reads it.
        put_url: Presigned URL that writes it, as `application/json`.
        ticket: Who is to hear of the job, sealed by the gateway for itself alone; kept in the ledger as it is.
    """

    get_url: str
    put_url: str
    ticket: str | None = None


class Delivery(_Wire):
    """One event and what became of it.

    Args:
        event: The event.
        tries: Attempts to deliver it.
        delivered_at: When the receiver acknowledged it; None if it never did.
        answer: What was heard last, such as `the receiver answered 503`.
    """

    event: Event
    tries: int = Field(default=0, ge=0)
    delivered_at: datetime | None = None
    answer: str = ""


class Ledger(_Wire):
    """What is known of a job's events.

    Args:
        version: Of this format.
        task_id: The gateway's id of the request.
        runpod_job_id: Runpod's id of the job that was begun; another one under the same task is the same request, sent
            twice.
        attempt: The attempt that was begun last.
        ticket: As in the grant.
        deliveries: Every event once, in order, bounded.
    """

    version: Literal[1] = 1
    task_id: str
    runpod_job_id: str = ""
    attempt: int = Field(default=1, ge=1)
    ticket: str | None = None
    deliveries: tuple[Delivery, ...] = ()

    def noting(self, *deliveries: Delivery) -> "Ledger":
        """Return a ledger that knows these deliveries, too; newer ones replace what was known of their events.

        When there are too many, those of `progress` events go first.
        """
        known = {one.event.id: one for one in (*self.deliveries, *deliveries)}
        ordered = sorted(known.values(), key=lambda one: one.event.data.sequence)
        if len(ordered) > MAX_DELIVERIES:
            ordered = [one for one in ordered if one.event.data.progress is None][-MAX_DELIVERIES:]
        return self.model_copy(update={"deliveries": tuple(ordered)})

    def end(self, attempt: int | None = None) -> Event | None:
        """Return the last event of an attempt, by default the newest, if it has ended."""
        wanted = self.attempt if attempt is None else attempt
        ends = (one.event for one in self.deliveries if one.event.data.status.is_terminal)
        return next((event for event in ends if event.data.attempt == wanted), None)

    def body(self) -> bytes:
        """Serialise it."""
        return self.model_dump_json(exclude_none=True).encode()


def ledger_key(user_prefix: str, task_id: str) -> str:
    """Return the object key of a job's ledger.

    Args:
        user_prefix: The prefix of the user's artifacts.
        task_id: The gateway's id of the request.
    """
    return f"{PREFIX}/{user_prefix}/{task_id}.json"


def claim_key(user_prefix: str, name: str) -> str:
    """Return the object key of what is known of an idempotency key.

    Args:
        user_prefix: The prefix of the user's artifacts.
        name: A hash of the idempotency key.
    """
    return f"{PREFIX}/{user_prefix}/keys/{name}.json"
