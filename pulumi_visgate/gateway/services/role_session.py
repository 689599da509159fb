"""Temporary credentials of a role that can upload artifacts and nothing else, renewed before they get too old.

Signatures end with the session that made them, whatever time they name. AWS limits the session of a role that another
role has taken to an hour, so a new one is asked for while the old one still outlives every upload that it has signed.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pulumi_visgate.gateway.services.sigv4 import Credentials

SESSION_S = 3600
_MARGIN = timedelta(seconds=60)
_CONNECT_TIMEOUT_S = 2
_READ_TIMEOUT_S = 3
_ATTEMPTS = 2


class RoleSession:
    """Credentials of a role.

    Args:
        role_arn: The role.
        region: Whose STS is asked.
        needed_s: How long what they sign must be good, in seconds.
        sts: Client for `AssumeRole`; one of boto3 when left out.
        clock: The time in UTC.
    """

    def __init__(
        self,
        role_arn: str,
        region: str,
        *,
        needed_s: int,
        sts: Any = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._role_arn = role_arn
        self._needed = timedelta(seconds=needed_s)
        self._sts = sts or _sts(region)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._credentials: Credentials | None = None
        self._ends = datetime.fromtimestamp(0, UTC)

    async def renew(self) -> None:
        """See that what is signed now is good for long enough; one call to STS for all who wait."""
        if not self._is_old:
            return
        async with self._lock:
            if self._is_old:
                await asyncio.to_thread(self._take)

    def __call__(self) -> Credentials:
        """Return the credentials.

        Raises:
            RuntimeError: `renew` was not awaited.
        """
        if self._credentials is None:
            message = "The role has not been taken yet."
            raise RuntimeError(message)
        return self._credentials

    @property
    def _is_old(self) -> bool:
        return self._ends - self._clock() < self._needed + _MARGIN

    def _take(self) -> None:
        answer = self._sts.assume_role(
            RoleArn=self._role_arn, RoleSessionName="visgate-gateway", DurationSeconds=SESSION_S
        )
        given = answer["Credentials"]
        self._credentials = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        self._ends = given["Expiration"]


def _sts(region: str) -> Any:
    import boto3  # noqa: PLC0415, it takes longer to import than the rest of the gateway together
    from botocore.config import Config  # noqa: PLC0415, as above

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
    )
    return boto3.client("sts", region_name=region, config=config)
