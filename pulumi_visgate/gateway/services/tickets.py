"""Sealed tickets: what the gateway has to know of a job later, carried by Runpod's callback and by the job's ledger.

Nothing is stored, so everything travels in the token: encrypted, because it passes through Runpod, its logs and the
bucket, and authenticated, so that only a gateway with this signing key can have made it.
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.tasks import Task

PATH = "/v1/callbacks/runpod/"
"""What comes before the token in a callback's URL."""

MAX_TOKEN_CHARACTERS = 8_192
_NONCE_BYTES = 12


class Purpose(StrEnum):
    """What a ticket is for; one for one thing is none for another."""

    CALLBACK = "visgate callback 1"
    LEDGER = "visgate ledger 1"


class Style(StrEnum):
    """Whose webhooks a receiver expects."""

    STANDARD = "standard"
    FAL = "fal"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One job and who hears of its end.

    Args:
        task_id: The gateway's id of the request.
        user_hash: Whose job.
        endpoint_id: Runpod endpoint that it was given to.
        model_id: Model.
        task: Task.
        webhook_url: The receiver.
        style: What it expects.
        start_timeout_s: Part of the job's id; see `JobRef`.
    """

    task_id: str
    user_hash: str
    endpoint_id: str
    model_id: str
    task: Task
    webhook_url: str = field(repr=False)
    style: Style = Style.STANDARD
    start_timeout_s: int | None = None


class TicketOffice:
    """Seals tickets and opens them again.

    Args:
        signing_keys: The platform's, newest first; the keys of the seal are derived from them.
        purpose: What the tickets are for.
        ttl_s: How long a ticket is good, in seconds; for ever when None.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        signing_keys: Sequence[str],
        *,
        purpose: Purpose,
        ttl_s: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._purpose = purpose.encode()
        self._seals = tuple(
            AESGCM(HKDF(hashes.SHA256(), length=32, salt=None, info=self._purpose).derive(key.encode()))
            for key in signing_keys
        )
        self._ttl_s = ttl_s
        self._clock = clock

    def __repr__(self) -> str:
        return "TicketOffice(...)"

    def seal(self, ticket: Ticket) -> str:
        """Return a token, fit for a URL, that only this platform can read."""
        expires = None if self._ttl_s is None else int(self._clock() + self._ttl_s)
        content = json.dumps([expires, *astuple(ticket)]).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._seals[0].encrypt(nonce, content, self._purpose)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, token: str) -> Ticket:
        """Return the ticket in a token.

        Raises:
            ContractError: It was not made here, was changed, or has expired (`not_found`: which of them is not told).
        """
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise _unknown() from None
        content = self._decrypted(sealed)
        if content is None:
            raise _unknown()
        expires, task_id, user_hash, endpoint_id, model_id, task, webhook_url, style, *more = json.loads(content)
        if expires is not None and self._clock() >= expires:
            raise _unknown()
        return Ticket(task_id, user_hash, endpoint_id, model_id, Task(task), webhook_url, Style(style), *more)

    def _decrypted(self, sealed: bytes) -> bytes | None:
        for seal in self._seals:
            try:
                return seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._purpose)
            except (ValueError, InvalidTag):
                continue
        return None


def _unknown() -> ContractError:
    detail = "There is no such callback."
    return ContractError(detail, hint="Only Runpod calls this route.", code=ErrorCode.NOT_FOUND)
