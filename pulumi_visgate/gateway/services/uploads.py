"""Presigned uploads: requests for one object each, so that no storage credential reaches a GPU.

Presigning (SigV4 query) is local arithmetic. The store is asked for one thing only: to begin an upload in parts, for
files that can be large.
"""

import logging

from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.store import ArtifactStore, StoreError
from pulumi_visgate.gateway.settings import Settings
from visgate_contract.jobs import POSTER_TYPE, RECEIPT_TYPE, THUMBNAIL_TYPE, JobInput, Multipart, Upload
from visgate_contract.tasks import ClipInput, TaskInput

log = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
PARTS = 16
"""Files of more than so many parts go in one piece."""


class Uploads:
    """Grants uploads into the platform's bucket.

    Args:
        settings: How long uploads are good.
        store: Signs them.
        links: Says where the objects are and can be read.
    """

    def __init__(self, settings: Settings, store: ArtifactStore, links: Links) -> None:
        self._ttl_s = settings.upload_ttl_s
        self._store = store
        self._links = links

    async def ready(self) -> None:
        """See that what is granted from now on is good for long enough."""
        await self._store.ready()

    def grant(self, *, user_hash: str, task_id: str, params: TaskInput) -> tuple[Upload, ...]:
        """Return one upload for each file of a request, in order, with those of its small pictures.

        Args:
            user_hash: Whose.
            task_id: The request.
            params: Tells how many, and of what format.
        """
        folder, is_video = self._links.key(user_hash, task_id), isinstance(params, ClipInput)
        uploads = []
        for n in range(params.artifact_count):
            key = _file(folder, n, params)
            more = {
                "head_url": self._store.presigned("HEAD", key, ttl_s=self._ttl_s),
                "thumbnail": self._upload(f"{folder}{n}.thumbnail.webp", THUMBNAIL_TYPE),
                "poster": self._upload(f"{folder}{n}.poster.jpg", POSTER_TYPE) if is_video else None,
            }
            uploads.append(self._upload(key, params.content_type).model_copy(update=more))
        return tuple(uploads)

    def receipt(self, *, user_hash: str, task_id: str) -> Upload:
        """Return the upload of a job's receipt."""
        return self._upload(self._links.key(user_hash, task_id, "receipt.jws"), RECEIPT_TYPE)

    async def in_parts(self, user_hash: str, job: JobInput) -> JobInput:
        """Return a job whose clips may come in parts; one that the store does not begin goes in one piece."""
        if not isinstance(job.params, ClipInput):
            return job
        folder, uploads = self._links.key(user_hash, job.task_id), list(job.uploads)
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

    def _upload(self, key: str, content_type: str) -> Upload:
        url = self._store.presigned("PUT", key, content_type=content_type, ttl_s=self._ttl_s)
        return Upload(put_url=url, headers={"Content-Type": content_type}, cdn_url=self._links.to(key))


def _file(folder: str, n: int, params: TaskInput) -> str:
    return f"{folder}{n}.{params.file_extension}"
