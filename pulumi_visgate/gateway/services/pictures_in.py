"""Pictures that callers put into the platform's bucket for their jobs to begin from.

Nothing passes through the gateway: it signs one PUT of the announced size, and one GET for the worker.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pulumi_visgate.gateway.services.store import ArtifactStore, prefix_of
from pulumi_visgate.gateway.settings import Settings
from visgate_contract.tasks import ImageFormat

PUT_TTL_S = 900
"""A picture is sent at once; the link that jobs refer to it by is good for as long as a job may live."""


@dataclass(frozen=True, slots=True)
class GrantedPicture:
    """Leave to store one picture.

    Args:
        put_url: Where to send it.
        headers: What to send with it.
        url: What a job's `image` or `mask` refers to it by.
        put_until: Until when it can be sent.
        good_until: Until when jobs find it.
    """

    put_url: str = field(repr=False)
    headers: dict[str, str]
    url: str = field(repr=False)
    put_until: datetime
    good_until: datetime


class PicturesIn:
    """Grants uploads of pictures.

    Args:
        settings: How long links are good, and where objects go.
        store: Signs them.
    """

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._ttl_s = settings.upload_ttl_s
        self._prefix = settings.key_prefix
        self._store = store

    async def grant(self, *, user_hash: str, kind: ImageFormat, size_bytes: int) -> GrantedPicture:
        """Return leave to store one picture below the caller's own prefix, under a name that nobody can guess.

        Args:
            user_hash: Whose.
            kind: File format.
            size_bytes: How large it is; the store takes nothing else.
        """
        await self._store.ready()
        name = f"{secrets.token_hex(16)}.{kind.file_extension}"
        key = f"{self._prefix}{prefix_of(user_hash)}/in/{name}"
        now = datetime.now(UTC).replace(microsecond=0)
        put_ttl_s = min(PUT_TTL_S, self._ttl_s)
        return GrantedPicture(
            put_url=self._store.presigned(
                "PUT", key, ttl_s=put_ttl_s, content_type=kind.content_type, content_length=size_bytes
            ),
            headers={"Content-Type": kind.content_type, "Content-Length": str(size_bytes)},
            url=self._store.presigned("GET", key, ttl_s=self._ttl_s),
            put_until=now + timedelta(seconds=put_ttl_s),
            good_until=now + timedelta(seconds=self._ttl_s),
        )
