"""Presigned uploads: one PUT for one object each, so that no storage credential reaches a GPU.

Presigning (SigV4 query) is local arithmetic; nothing here talks to the store.
"""

import time
from collections.abc import Callable

from pulumi_visgate.gateway.services.store import ArtifactStore, prefix_of
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.link_signing import link_signer
from visgate_contract.jobs import Upload
from visgate_contract.tasks import TaskInput


class Uploads:
    """Grants uploads into the platform's bucket.

    Args:
        settings: Where artifacts are read, and how long uploads are good.
        store: Signs them.
    """

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._ttl_s = settings.upload_ttl_s
        self._cdn = settings.cdn_base_url
        self._prefix = settings.key_prefix
        self._store = store
        self._link = _link(settings)

    async def ready(self) -> None:
        """See that what is granted from now on is good for long enough."""
        await self._store.ready()

    def grant(self, *, user_hash: str, task_id: str, params: TaskInput) -> tuple[Upload, ...]:
        """Return one upload for each file of a request, in order.

        Args:
            user_hash: Whose; the first characters are the prefix of the object keys.
            task_id: Second part of the keys.
            params: Tells how many, and of what format.
        """
        prefix = f"{self._prefix}{prefix_of(user_hash)}/{task_id}"
        return tuple(
            self._upload(f"{prefix}/{n}.{params.file_extension}", params.content_type)
            for n in range(params.artifact_count)
        )

    def _upload(self, key: str, content_type: str) -> Upload:
        url = self._store.presigned("PUT", key, content_type=content_type, ttl_s=self._ttl_s)
        return Upload(put_url=url, headers={"Content-Type": content_type}, cdn_url=self._link(f"{self._cdn}/{key}"))


def _link(settings: Settings) -> Callable[[str], str]:
    """Return what makes a link of an artifact's address: the address itself, or one that is signed."""
    if settings.link_key_id is None:
        return lambda url: url
    sign = link_signer(settings.signing_key.get_secret_value(), settings.link_key_id)
    return lambda url: sign(url, int(time.time()) + settings.link_ttl_s)
