"""The delivery ledgers of jobs, as the gateway grants, reads and completes them; see `visgate_contract.ledger`."""

import logging

from pydantic import ValidationError

from pulumi_visgate.gateway.services.keys import Keys
from pulumi_visgate.gateway.services.store import ArtifactStore, StoreError, prefix_of
from pulumi_visgate.gateway.services.tickets import Purpose, Ticket, TicketOffice
from pulumi_visgate.gateway.settings import Settings
from visgate_contract.errors import ContractError
from visgate_contract.ledger import CONTENT_TYPE, Delivery, Ledger, LedgerGrant, ledger_key
from visgate_contract.signing import JobRef

log = logging.getLogger(__name__)

MAX_BYTES = 1024 * 1024


class Ledgers:
    """Ledgers in the platform's bucket.

    Args:
        settings: How long grants are good.
        keys: Seal who is to hear of a job.
        store: The bucket.
    """

    def __init__(self, settings: Settings, keys: Keys, store: ArtifactStore) -> None:
        self._ttl_s = settings.upload_ttl_s
        self._office = TicketOffice(keys.signing_keys, purpose=Purpose.LEDGER, ttl_s=None)
        self._store = store

    def grant(self, user_hash: str, task_id: str, ticket: Ticket | None) -> LedgerGrant:
        """Return what a worker needs to keep the ledger of a job.

        Args:
            user_hash: Whose job.
            task_id: Which.
            ticket: Who is to hear of it, if anybody.
        """
        key = ledger_key(prefix_of(user_hash), task_id)
        return LedgerGrant(
            get_url=self._store.presigned("GET", key, ttl_s=self._ttl_s),
            put_url=self._store.presigned("PUT", key, ttl_s=self._ttl_s, content_type=CONTENT_TYPE),
            ticket=self._office.seal(ticket) if ticket is not None else None,
        )

    async def read(self, user_hash: str, task_id: str) -> Ledger | None:
        """Return the ledger of a job; None if there is none, or none that can be read now."""
        try:
            found = await self._store.read(ledger_key(prefix_of(user_hash), task_id), max_bytes=MAX_BYTES)
            ledger = None if found is None else Ledger.model_validate_json(found)
        except StoreError as error:
            log.warning("the ledger of %s cannot be read: %s", task_id, error)
            return None
        except ValidationError:
            log.warning("the ledger of %s is none", task_id)
            return None
        return ledger if ledger is not None and ledger.task_id == task_id else None

    async def attempt_of(self, user_hash: str, ref: JobRef) -> int:
        """Return how often a job has been begun, as far as is known."""
        ledger = await self.read(user_hash, ref.task_id) if ref.task_id else None
        return ledger.attempt if ledger is not None else 1

    async def note(self, ticket: Ticket, runpod_job_id: str, ledger: Ledger | None, *deliveries: Delivery) -> None:
        """Keep what the gateway itself has delivered, or could not; a store that fails is only logged.

        Args:
            ticket: Whose job it is and who hears of it.
            runpod_job_id: Runpod's id of the job.
            ledger: What was read.
            deliveries: What is new.
        """
        if ledger is None:
            ledger = Ledger(task_id=ticket.task_id, runpod_job_id=runpod_job_id, ticket=self._office.seal(ticket))
        try:
            await self._store.write(
                ledger_key(prefix_of(ticket.user_hash), ticket.task_id),
                ledger.noting(*deliveries).body(),
                content_type=CONTENT_TYPE,
            )
        except StoreError as error:
            log.warning("the ledger of %s cannot be written: %s", ticket.task_id, error)

    def receiver(self, ledger: Ledger, user_hash: str) -> Ticket | None:
        """Return who is to hear of a job, if anybody; a ticket that is not this job's and user's is nobody's."""
        if ledger.ticket is None:
            return None
        try:
            ticket = self._office.open(ledger.ticket)
        except ContractError:
            return None
        return ticket if (ticket.task_id, ticket.user_hash) == (ledger.task_id, user_hash) else None
