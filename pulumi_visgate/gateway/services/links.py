"""Links to artifacts: made when a job is accepted, and made anew, with a new time to live, whenever a job is shown.

A link is the artifact's address at the CDN, signed where the CDN wants that, or without a CDN a presigned request to
the bucket. Which object it leads to follows from whose job it is, so that a link that has expired can be replaced.
"""

import re
import time
from collections.abc import Callable, Iterable

from pulumi_visgate.gateway.services.store import ArtifactStore, prefix_of
from pulumi_visgate.gateway.settings import MAX_PRESIGN_S, Settings
from pulumi_visgate.link_signing import link_signer
from visgate_contract.events import Artifact

_NAME = re.compile(r"[0-9]{1,3}(\.thumbnail|\.poster)?\.[a-z0-9]{2,5}|receipt\.jws")


class Links:
    """Makes links.

    Args:
        settings: Where artifacts are read, and how long links are good.
        store: Signs links to the bucket.
    """

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._prefix = settings.key_prefix
        self._of = _maker(settings, store)

    def key(self, user_hash: str, task_id: str, name: str = "") -> str:
        """Return the key of an object that a job makes, or what those of all begin with.

        Args:
            user_hash: Whose; the first characters are the prefix of the object keys.
            task_id: Second part of the key.
            name: Third.
        """
        return f"{self._prefix}{prefix_of(user_hash)}/{task_id}/{name}"

    def to(self, key: str) -> str:
        """Return a link to an object."""
        return self._of(key)

    def renewed(self, artifacts: Iterable[Artifact], *, user_hash: str, task_id: str | None) -> tuple[Artifact, ...]:
        """Return a job's artifacts with links that are good from now on; see `renew`."""

        def anew(artifact: Artifact) -> dict[str, str | None]:
            links = {name: getattr(artifact, name) for name in ("url", "thumbnail_url", "poster_url")}
            return {name: self.renew(link, user_hash=user_hash, task_id=task_id) for name, link in links.items()}

        return tuple(artifact.model_copy(update=anew(artifact)) for artifact in artifacts)

    def renew(self, url: str | None, *, user_hash: str, task_id: str | None) -> str | None:
        """Return a link to the same object that is good from now on.

        An address that is not one of the job's own objects stays as it is.

        Args:
            url: As the job's worker has reported it.
            user_hash: Whose job.
            task_id: The gateway's id of the request, if it is known.
        """
        if url is None or task_id is None:
            return url
        folder = self.key(user_hash, task_id)
        _, found, name = url.partition("?")[0].rpartition(f"/{folder}")
        return self._of(f"{folder}{name}") if found and _NAME.fullmatch(name) else url


def _maker(settings: Settings, store: ArtifactStore) -> Callable[[str], str]:
    base = settings.cdn_base_url
    if base is None:
        ttl_s = min(settings.link_ttl_s, MAX_PRESIGN_S)
        return lambda key: store.presigned("GET", key, ttl_s=ttl_s)
    if settings.link_key_id is None:
        return lambda key: f"{base}/{key}"
    sign = link_signer(settings.signing_key.get_secret_value(), settings.link_key_id)
    return lambda key: sign(f"{base}/{key}", int(time.time()) + settings.link_ttl_s)
