"""Idempotency keys in this process: a request that is sent again gets the answer of the first.

Follows the IETF draft `idempotency-key-header-07`. What was accepted is remembered for minutes, so that a repeat that
follows soon costs nothing; what other processes have accepted is in the bucket, see `claims`. The task id is made from
the key and the request, so that even without the bucket a repeat that another process accepts within the same two
minutes writes to the same objects and sends the same `webhook-id`s, which receivers drop.
"""

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from pydantic import SecretStr

from pulumi_visgate.gateway.problems import InvalidField, Refused
from visgate_contract.errors import ErrorCode
from visgate_contract.signing import new_task_id

FIELD = "Idempotency-Key"
REMEMBER_S = 600.0
WINDOW_S = 120
MAX_USERS = 1_000
MAX_KEYS_OF_A_USER = 200

_TIME_PART = len("task_") + 10
_RANDOM_BYTES = 10
_TO_ULID = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")

AnswerT = TypeVar("AnswerT")


def other_request() -> InvalidField:
    """Return the error of a key that was used for another request."""
    return InvalidField(field=FIELD, detail="was used for another request.", hint="Use a new key for each request.")


def busy() -> Refused:
    """Return the error of a key whose first request is still being worked on."""
    return Refused(
        409,
        "A request with this Idempotency-Key is being worked on.",
        code=ErrorCode.INVALID_REQUEST,
        hint="Send it again in a moment.",
        headers={"Retry-After": "1"},
    )


@dataclass(slots=True)
class _Entry(Generic[AnswerT]):
    fingerprint: str
    made_at: float
    answer: AnswerT | None = None


class Replays(Generic[AnswerT]):
    """What was answered to requests with an idempotency key. Keys and requests are kept as hashes only.

    Args:
        signing_key: Task ids are made under it, so that nobody else can foretell them.
        clock: Seconds since the epoch.
    """

    def __init__(self, signing_key: SecretStr, *, clock: Callable[[], float] = time.time) -> None:
        self._signing_key = signing_key
        self._clock = clock
        self._users: OrderedDict[str, OrderedDict[str, _Entry[AnswerT]]] = OrderedDict()

    async def once(
        self, user_hash: str, key: str, request: str, act: Callable[[str], Awaitable[AnswerT]]
    ) -> tuple[AnswerT, bool]:
        """Act for the first request of a key, and return the answer of that for the others, with whether it is one.

        A request that fails is forgotten, so that it can be sent again.

        Args:
            user_hash: Whose key.
            key: The idempotency key.
            request: Everything that makes the request what it is, as text.
            act: Does it, under a task id.

        Raises:
            InvalidField: The key was used for another request (422).
            Refused: The first request is still being worked on (409).
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        fingerprint = hashlib.sha256(request.encode()).hexdigest()
        entries = self._entries(user_hash)
        known = entries.get(name)
        if known is not None:
            return self._replayed(known, fingerprint), True
        entry = entries[name] = _Entry[AnswerT](fingerprint, self._clock())
        try:
            entry.answer = await act(self._task_id(user_hash, name, fingerprint))
        except BaseException:
            if entries.get(name) is entry:
                del entries[name]
            raise
        return entry.answer, False

    @staticmethod
    def _replayed(entry: _Entry[AnswerT], fingerprint: str) -> AnswerT:
        if entry.fingerprint != fingerprint:
            raise other_request()
        if entry.answer is None:
            raise busy()
        return entry.answer

    def _entries(self, user_hash: str) -> OrderedDict[str, _Entry[AnswerT]]:
        """Return a user's entries, without those that are too old or too many."""
        entries = self._users.setdefault(user_hash, OrderedDict())
        self._users.move_to_end(user_hash)
        if len(self._users) > MAX_USERS:
            self._users.popitem(last=False)
        oldest = self._clock() - REMEMBER_S
        while entries:
            first = next(iter(entries.values()))
            if first.made_at > oldest and len(entries) < MAX_KEYS_OF_A_USER:
                break
            entries.popitem(last=False)
        return entries

    def _task_id(self, user_hash: str, name: str, fingerprint: str) -> str:
        """Return a task id that every process makes of the same request within the same two minutes."""
        now = self._clock()
        time_part = new_task_id(datetime.fromtimestamp(now - now % WINDOW_S, UTC))[:_TIME_PART]
        message = f"task:{user_hash}:{name}:{fingerprint}".encode()
        mac = hmac.new(self._signing_key.get_secret_value().encode(), message, hashlib.sha256).digest()
        return time_part + base64.b32encode(mac[:_RANDOM_BYTES]).translate(_TO_ULID).decode()
