"""Presigned uploads: requests for one object each, so that no storage credential reaches a GPU.

Presigning (SigV4 query) is local arithmetic. The store is asked for one thing only: to begin an upload in parts, for
files that can be large.
"""

import logging
import time
from collections.abc import Callable

from pulumi_visgate.gateway.services.store import ArtifactStore, StoreError, prefix_of
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.link_signing import link_signer
from visgate_contract.jobs import POSTER_TYPE, RECEIPT_TYPE, THUMBNAIL_TYPE, JobInput, Multipart, Upload
from visgate_contract.tasks import ClipInput, TaskInput

log = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
PARTS = 16
"""Files of more than so many parts go in one piece."""


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
        """Return one upload for each file of a request, in order, with those of its small pictures.

        Args:
            user_hash: Whose; the first characters are the prefix of the object keys.
            task_id: Second part of the keys.
            params: Tells how many, and of what format.
        """
        folder, is_video = self._folder(user_hash, task_id), isinstance(params, ClipInput)
        uploads = []
        for n in range(params.artifact_count):
            key = _file(folder, n, params)
            more = {
                "head_url": self._store.presigned("HEAD", key, ttl_s=self._ttl_s),
                "thumbnail": self._upload(f"{folder}/{n}.thumbnail.webp", THUMBNAIL_TYPE),
                "poster": self._upload(f"{folder}/{n}.poster.jpg", POSTER_TYPE) if is_video else None,
            }
            uploads.append(self._upload(key, params.content_type).model_copy(update=more))
        return tuple(uploads)

    def receipt(self, *, user_hash: str, task_id: str) -> Upload:
        """Return the upload of a job's receipt."""
        return self._upload(f"{self._folder(user_hash, task_id)}/receipt.jws", RECEIPT_TYPE)

    async def in_parts(self, user_hash: str, job: JobInput) -> JobInput:
        """Return a job whose clips may come in parts; one that the store does not begin goes in one piece."""
        if not isinstance(job.params, ClipInput):
            return job
        folder, uploads = self._folder(user_hash, job.task_id), list(job.uploads)
        try:
            for n, upload in enumerate(uploads):
                parts = await self._parts(_file(folder, n, job.params), job.params.content_type)
                uploads[n] = upload.model_copy(update={"multipart": parts})
        except StoreError as error:
            log.warning("an upload in parts could not be begun: %s", error)
        return job.model_copy(update={"uploads": tuple(uploads)})

    async def _parts(self, key: str, content_type: str) -> Multipart:
        upload = {"uploadId": await self._store.begin_parts(key, content_type=content_type)}

        def url(method: str, **query: str) -> str:
            return self._store.presigned(method, key, ttl_s=self._ttl_s, query=query | upload)

        return Multipart(
            part_bytes=PART_BYTES,
            part_urls=tuple(url("PUT", partNumber=str(number)) for number in range(1, PARTS + 1)),
            complete_url=url("POST"),
            abort_url=url("DELETE"),
        )

    def _folder(self, user_hash: str, task_id: str) -> str:
        return f"{self._prefix}{prefix_of(user_hash)}/{task_id}"

    def _upload(self, key: str, content_type: str) -> Upload:
        url = self._store.presigned("PUT", key, content_type=content_type, ttl_s=self._ttl_s)
        return Upload(put_url=url, headers={"Content-Type": content_type}, cdn_url=self._link(f"{self._cdn}/{key}"))


def _file(folder: str, n: int, params: TaskInput) -> str:
    return f"{folder}/{n}.{params.file_extension}"


def _link(settings: Settings) -> Callable[[str], str]:
    """Return what makes a link of an artifact's address: the address itself, or one that is signed."""
    if settings.link_key_id is None:
        return lambda url: url
    sign = link_signer(settings.signing_key.get_secret_value(), settings.link_key_id)
    return lambda url: sign(url, int(time.time()) + settings.link_ttl_s)
