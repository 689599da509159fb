"""Webhook signatures and job ids, all derived: nothing has to be stored to check them.

The platform has one signing key. Each user's webhook secret and private key are derived from it and the `user_hash`, so
the gateway can tell a caller their secret at any time, and the worker, which has only that user's, can sign for that
user alone. How signatures with the private key are made is in `ed25519`.
"""

import base64
import email.utils
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from visgate_contract.errors import ContractError, ErrorCode

WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105, a prefix, not a secret
WEBHOOK_KEY_PREFIX = "whsk_"
TENANT_LENGTH = 32
MIN_SIGNING_KEY_BYTES = 24
_JOB_ID = re.compile(
    r"job_(?P<endpoint>[A-Za-z0-9_]+)_(?P<job>[A-Za-z0-9-]+)"
    r"(?:\.(?P<task>[0-9a-z]{26})(?:-(?P<start>[1-9][0-9]{0,6}))?)?_(?P<mac>[0-9a-f]{24})"
)
_TASK_PREFIX = "task_"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_ULID_LENGTH = 26
_ULID_TIME_LENGTH = 10


def new_task_id(now: datetime) -> str:
    """Return a new id that sorts by time: `task_` and a ULID in lower case.

    Args:
        now: Time zone aware.
    """
    value = (int(now.astimezone(UTC).timestamp() * 1000) << 80) | secrets.randbits(80)
    return _TASK_PREFIX + "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def task_time(task_id: str) -> datetime:
    """Return when a task id was made, to the millisecond, in UTC.

    Raises:
        ContractError: It is not what `new_task_id` returns.
    """
    ulid = task_id.removeprefix(_TASK_PREFIX)
    if len(ulid) != _ULID_LENGTH or not set(ulid) <= set(_CROCKFORD):
        detail = "task_id must be `task_` and a ULID in lower case."
        raise ContractError(detail)
    milliseconds = 0
    for character in ulid[:_ULID_TIME_LENGTH]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def derive_webhook_secret(signing_key: str, user_hash: str) -> str:
    """Return a user's webhook secret, `whsec_` and 32 bytes in base64 (Standard Webhooks 1.0.0).

    Args:
        signing_key: The platform's signing key, at least 24 characters.
        user_hash: SHA-256 of the user's Runpod API key.

    Raises:
        ContractError: The signing key is too short to be one.
    """
    return WEBHOOK_SECRET_PREFIX + _derived(signing_key, f"webhook:{user_hash}")


def tenant_of(user_hash: str) -> str:
    """Return the public name of a user, under which their public keys are found; it tells nothing about the hash.

    Args:
        user_hash: SHA-256 of the user's Runpod API key.
    """
    return hashlib.sha256(f"visgate tenant:{user_hash}".encode()).hexdigest()[:TENANT_LENGTH]


def derive_webhook_key(signing_key: str, tenant: str) -> str:
    """Return a user's private key for webhooks, `whsk_` and 32 bytes in base64 (Standard Webhooks 1.0.0, Ed25519).

    Args:
        signing_key: The platform's signing key, at least 24 characters.
        tenant: The user's public name.

    Raises:
        ContractError: The signing key is too short to be one.
    """
    return WEBHOOK_KEY_PREFIX + _derived(signing_key, f"webhook key:{tenant}")


def _derived(signing_key: str, purpose: str) -> str:
    if len(signing_key) < MIN_SIGNING_KEY_BYTES:
        detail = f"signing_key has {len(signing_key)} characters; at least {MIN_SIGNING_KEY_BYTES} are needed."
        raise ContractError(detail, hint="Make one with `openssl rand -base64 32`.")
    return base64.b64encode(hmac.digest(signing_key.encode(), purpose.encode(), "sha256")).decode()


Sign = Callable[[bytes], str]
"""Makes one entry of `webhook-signature`."""


def hmac_signature(secret: str) -> Sign:
    """Return what signs with a secret, HMAC-SHA256 (`v1`).

    Args:
        secret: `whsec_` and base64.
    """
    key = base64.b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX))
    return lambda content: "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class WebhookSigner:
    """Signs deliveries as Standard Webhooks 1.0.0 says, with each of a user's keys.

    Args:
        signs: Makes of the signatures, in the order in which they are sent.
    """

    signs: tuple[Sign, ...] = field(repr=False)

    def headers(self, message_id: str, body: bytes, *, timestamp: datetime) -> dict[str, str]:
        """Return the headers of a delivery; what is signed is `id.timestamp.body`.

        Args:
            message_id: Value of `webhook-id`.
            body: The exact bytes that are sent.
            timestamp: Time of this attempt, time zone aware.
        """
        seconds = str(int(timestamp.timestamp()))
        content = f"{message_id}.{seconds}.".encode() + body
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": seconds,
            "webhook-signature": " ".join(sign(content) for sign in self.signs),
        }


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3), or None without a valid one."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - now).total_seconds()) if at.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class JobRef:
    """Where a job lives at Runpod.

    Args:
        endpoint_id: Runpod endpoint.
        runpod_job_id: What Runpod's `/run` answered.
        task_id: The gateway's id of the request, so that a job can be described before its worker has spoken.
        start_timeout_s: Seconds from the request within which a worker has to take the job, if it has to.
    """

    endpoint_id: str
    runpod_job_id: str
    task_id: str | None = None
    start_timeout_s: int | None = None

    @property
    def start_by(self) -> datetime | None:
        """When a worker has to have taken the job, in UTC; None if it may come at any time."""
        if self.task_id is None or self.start_timeout_s is None:
            return None
        return task_time(self.task_id) + timedelta(seconds=self.start_timeout_s)

    def job_id(self, webhook_secret: str) -> str:
        """Return the public job id: the ids and a MAC under the user's secret, so that only that user can use it."""
        task = f".{self.task_id.removeprefix(_TASK_PREFIX)}" if self.task_id else ""
        if task and self.start_timeout_s is not None:
            task += f"-{self.start_timeout_s}"
        return f"job_{self.endpoint_id}_{self.runpod_job_id}{task}_{self._mac(webhook_secret)}"

    @classmethod
    def parse(cls, job_id: str, webhook_secret: str) -> "JobRef":
        """Take a job id apart.

        Raises:
            ContractError: It is not a job id, or another user's (`not_found`: which of both is not told).
        """
        match = _JOB_ID.fullmatch(job_id)
        if match is not None:
            task, start = match["task"], match["start"]
            task_id = _TASK_PREFIX + task if task else None
            ref = cls(match["endpoint"], match["job"], task_id, int(start) if start else None)
            if hmac.compare_digest(ref._mac(webhook_secret), match["mac"]):
                return ref
        detail = "There is no such job for this Runpod API key."
        raise ContractError(detail, hint="Use the job_id that POST /v1/jobs returned.", code=ErrorCode.NOT_FOUND)

    def _mac(self, secret: str) -> str:
        task = f":{self.task_id}" if self.task_id else ""
        if task and self.start_timeout_s is not None:
            task += f":{self.start_timeout_s}"
        message = f"job:{self.endpoint_id}:{self.runpod_job_id}{task}".encode()
        return hmac.digest(secret.encode(), message, "sha256").hex()[:24]
