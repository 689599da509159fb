"""Idempotency keys in every process: one object in the platform's bucket for each key, made by a conditional write.

The first request of a key makes the object (`If-None-Match: *`) before anything is made at Runpod, so of several at
once, in whichever processes, one goes on. Its answer is written there before it is given. An object that has no answer
after the longest time that a request can take is one of a process that has died: it is taken over (`If-Match`), after
its job was looked for in the ledger of its task. What is kept are hashes, which nobody can guess who does not have the
caller's Runpod key, and nothing is written for a key that Runpod does not know.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pulumi_visgate.gateway.services.orders import Accepted
from pulumi_visgate.gateway.services.replays import busy, other_request
from pulumi_visgate.gateway.services.store import ArtifactStore, StoreError, prefix_of
from visgate_contract.ledger import CONTENT_TYPE, claim_key

log = logging.getLogger(__name__)

KEEP_S = 24 * 3600.0
"""How long an answer is given again, in seconds."""

MARGIN_S = 15.0
"""How much longer than the longest request a claim is good without an answer; what clocks may differ by."""

MAX_BYTES = 64 * 1024


class Record(BaseModel):
    """What the bucket has of an idempotency key.

    Args:
        version: Of this format.
        fingerprint: Hash of the request that came with the key.
        task_id: What that went under.
        made_at: When it was sent, in seconds since the epoch.
        busy_until: When it has ended at the latest, or has failed, in seconds since the epoch.
        accepted: What was answered.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    fingerprint: str
    task_id: str
    made_at: float
    busy_until: float
    accepted: Accepted | None = None


class Claim:
    """One request with an idempotency key, on its way.

    Args:
        store: The bucket.
        key: The object.
        record: What it is to have while the request is worked on.
        version: What is there now; None if nothing is.

    Attributes:
        repeats: Task id of an earlier attempt at the same request that has not told how it ended.
    """

    def __init__(
        self, store: ArtifactStore, key: str, record: Record, version: str | None, *, repeats: str | None = None
    ) -> None:
        self._store = store
        self._key = key
        self._record = record
        self._version = version
        self._is_held = False
        self.repeats = repeats

    async def take(self) -> None:
        """Take the key, before anything is made.

        Raises:
            Refused: Another request has taken it meanwhile (409).
        """
        if self._is_held:
            return
        try:
            self._version = await self._write(self._record)
        except StoreError as error:
            log.warning("an idempotency key is known to this process only: %s", error)
            return
        if self._version is None:
            raise busy()
        self._is_held = True

    async def settle(self, accepted: Accepted) -> None:
        """Write the answer down."""
        if self._is_held:
            await self._end(self._record.model_copy(update={"accepted": accepted}))

    async def release(self) -> None:
        """Let the request be sent again, after it has failed."""
        if self._is_held:
            await self._end(self._record.model_copy(update={"busy_until": 0.0}))

    async def _end(self, record: Record) -> None:
        try:
            if await self._write(record) is None:
                log.warning("an idempotency key was taken by another process before its request has ended")
        except StoreError as error:
            log.warning("what became of a request with an idempotency key cannot be written down: %s", error)

    async def _write(self, record: Record) -> str | None:
        body = record.model_dump_json(exclude_none=True).encode()
        return await self._store.write_if(self._version, self._key, body, content_type=CONTENT_TYPE)


class Claims:
    """Idempotency keys in the platform's bucket.

    Args:
        store: The bucket.
        request_s: Longest time that a request can take, in seconds.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: ArtifactStore, *, request_s: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._lease_s = request_s + MARGIN_S
        self._clock = clock

    async def open(self, user_hash: str, key: str, request: str, task_id: str) -> Accepted | Claim:
        """Look up what became of a request, and return its answer, or a claim to it if it has none.

        A bucket that cannot be reached refuses nobody: the claim is good then, and protects from nothing.

        Args:
            user_hash: Whose key.
            key: The idempotency key.
            request: Everything that makes the request what it is, as text.
            task_id: What it is to go under.

        Raises:
            InvalidField: The key was used for another request (422).
            Refused: The first request is still being worked on (409).
        """
        name = _hash(user_hash, key)
        place = claim_key(prefix_of(user_hash), name)
        now = self._clock()
        mine = Record(
            fingerprint=_hash(user_hash, key, request), task_id=task_id, made_at=now, busy_until=now + self._lease_s
        )
        try:
            found = await self._store.find(place, max_bytes=MAX_BYTES)
        except StoreError as error:
            log.warning("an idempotency key cannot be looked up: %s", error)
            found = None
        if found is None:
            return Claim(self._store, place, mine, None)
        former = _parsed(found.body)
        if former is None or now >= former.made_at + KEEP_S:
            return Claim(self._store, place, mine, found.version)
        is_same, is_over = former.fingerprint == mine.fingerprint, now >= former.busy_until
        if not is_same and (former.accepted is not None or not is_over):
            raise other_request()
        if former.accepted is not None:
            return replace(former.accepted, replayed=True)
        if not is_over:
            raise busy()
        return Claim(self._store, place, mine, found.version, repeats=former.task_id if is_same else None)


def _parsed(body: bytes) -> Record | None:
    try:
        return Record.model_validate_json(body)
    except ValidationError:
        log.warning("what is known of an idempotency key cannot be read; it is new again")
        return None


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
