"""One file from its source into an S3-compatible store, in parts, several at once, checked on the way; no Pulumi.

An object appears under its key only when all of it has been seen to have the digest that the source tells, so what is
there is right. A part that an earlier, interrupted run has stored is known by its MD5, which is its entity tag: it is
read again from the source, because the digest of the whole has to be computed, but not sent again.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception, retry_if_result, stop_after_attempt, stop_after_delay
from tenacity import wait_exponential as backoff

from pulumi_visgate.resources._digest import DIGEST_ATTEMPTS, DigestMismatch, Digests
from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources._parts import Parts, Source, is_one_part, slots
from pulumi_visgate.resources._progress import Progress
from pulumi_visgate.resources._s3 import READ_TIMEOUT_S, attempting
from pulumi_visgate.resources.errors import HubError, StoreError
from visgate_contract.caches import ManifestFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PARTS_AT_ONCE = 8
SEND_ATTEMPTS = 3
_GONE = frozenset({"NoSuchUpload", "InvalidPart"})  # the latter while another run is finishing it
FINISH_DEADLINE_S = 1800.0  # stores on a file system put the parts of a large file together while we wait


class UploadGone(Exception):  # noqa: N818, tried again
    """Somebody else has finished or given up the upload."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished multipart upload.

    Args:
        key: Object key.
        id: Id at the store.
        stored: Entity tags of the parts that are there, by number.
    """

    key: str
    id: str
    stored: dict[int, str]


def unfinished(client: "S3Client", bucket: str, prefix: str) -> list[tuple[str, str]]:
    """Return key and id of the unfinished uploads under a prefix (`ListMultipartUploads`), none if it cannot."""
    try:
        with attempting(f"looking for unfinished uploads in {bucket}"):
            pages = list(client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix))
    except StoreError as error:
        if error.unsupported:
            return []
        raise
    uploads = [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", [])]
    return [upload for upload in uploads if upload[0].startswith(prefix)]  # not every store filters


def abort(client: "S3Client", bucket: str, uploads: Iterable[tuple[str, str]]) -> None:
    """Give uploads up (`AbortMultipartUpload`); one that is gone does not matter."""
    for key, id_ in uploads:
        with suppress(UploadGone), _noticing_gone():
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=id_)


class Transfer:
    """Brings files of one source into one bucket.

    Args:
        client: Client of the store.
        bucket: Bucket or volume.
        source: Where files come from.
        progress: Hears of every part.
        begun: Unfinished uploads of an earlier run, by key.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        source: Source,
        progress: Progress,
        begun: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._source = source
        self._progress = progress
        self._begun: dict[str, list[str]] = {}
        for key, id_ in begun:
            self._begun.setdefault(key, []).append(id_)
        self._pool = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="model-part")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def put(self, file: SourceFile, key: str) -> ManifestFile:
        """Bring one file to its key.

        Raises:
            HubError: What comes is not what the source promised, three times.
            StoreError: The store refuses.
        """
        for number in range(1, DIGEST_ATTEMPTS + 1):
            try:
                return self._put_whole(file, key) if is_one_part(file.size) else self._put_parts(file, key)
            except UploadGone:
                if self._size(key) == file.size and file.sha256:
                    return ManifestFile(sha256=file.sha256, size=file.size)  # another run has checked and finished it
                reason = f"{file.path}: its upload was taken away by another run"
            except DigestMismatch as error:
                reason = str(error)
            self._progress.took_back(file)
            if number == DIGEST_ATTEMPTS:
                hint = "If it stays, the source is broken, or changes while it is read."
                raise HubError(f"{reason} ({number} attempts).", hint=hint)  # noqa: EM102, the sentence is made above
        raise AssertionError

    def copy(self, file: SourceFile, known: ManifestFile, from_key: str, key: str) -> ManifestFile | None:
        """Copy inside the store (`CopyObject`); None where it cannot.

        Args:
            file: The file.
            known: The same file in the manifest of another revision.
            from_key: Where that is.
            key: Where it goes.
        """
        try:
            with attempting(f"copying {file.path} in {self._bucket}"):
                source = {"Bucket": self._bucket, "Key": from_key}
                self._client.copy_object(Bucket=self._bucket, Key=key, CopySource=source)  # type: ignore[arg-type]  # the stub wants its own dict
        except StoreError as error:
            if not error.unclear or not self._settles(key, file.size):
                return None
        self._progress.had(file)
        return known

    def checked(self, file: SourceFile, key: str) -> ManifestFile | None:
        """Return a stored file as a manifest has it, or None if it is another one.

        Args:
            file: The file, small enough to be read at once.
            key: Where it should be.
        """
        digests = Digests(file)
        digests.update(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        try:
            return digests.verified()
        except DigestMismatch:
            return None

    def _put_whole(self, file: SourceFile, key: str) -> ManifestFile:
        with slots:
            data = self._source.read(file, 0, file.size) if file.size else b""
            digests = Digests(file)
            digests.update(data)
            found = digests.verified()
            for attempt in _patiently():
                with attempt:
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        self._progress.sent(file, len(data))
        return found

    def _put_parts(self, file: SourceFile, key: str) -> ManifestFile:
        upload = self._taken_up(key) or self._begin(key)
        run = Parts(self._pool, self._source, file)
        tags: dict[int, str | Future[str]] = {}
        digests = Digests(file)
        try:
            for number, data in run:
                digests.update(data)
                stored = upload.stored.get(number)
                if stored is not None and stored == hashlib.md5(data, usedforsecurity=False).hexdigest():
                    tags[number] = stored
                    run.done(number)
                    self._progress.sent(file, len(data), again=True)
                    continue
                sending = self._pool.submit(self._send, file, upload, number, data)
                sending.add_done_callback(partial(run.done, number))
                tags[number] = sending
            found = digests.verified()
            parts: list[CompletedPartTypeDef] = [
                {"PartNumber": number, "ETag": tag if isinstance(tag, str) else tag.result()}
                for number, tag in sorted(tags.items())
            ]
        except DigestMismatch:
            self._wait_for(tags.values())
            abort(self._client, self._bucket, [(key, upload.id)])
            raise
        finally:
            self._wait_for(tags.values())
            run.close()
        self._finish(file, upload, parts)
        return found

    @staticmethod
    def _wait_for(tags: Iterable[str | Future[str]]) -> None:
        sending = [tag for tag in tags if isinstance(tag, Future)]
        for one in sending:
            one.cancel()
        wait(sending)

    def _taken_up(self, key: str) -> Upload | None:
        """Return what an earlier run has begun, with the most parts (`ListParts`)."""
        found: list[Upload] = []
        for id_ in self._begun.pop(key, []):
            with suppress(UploadGone), _noticing_gone():
                pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=id_)
                stored = {
                    part["PartNumber"]: part["ETag"].strip('"') for page in pages for part in page.get("Parts", [])
                }
                found.append(Upload(key, id_, stored))
        return max(found, key=lambda upload: len(upload.stored), default=None)

    def _begin(self, key: str) -> Upload:
        answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)
        return Upload(key, answer["UploadId"], {})

    def _send(self, file: SourceFile, upload: Upload, number: int, data: bytes) -> str:
        with _noticing_gone():
            for attempt in _patiently():
                with attempt:
                    answer = self._client.upload_part(
                        Bucket=self._bucket,
                        Key=upload.key,
                        UploadId=upload.id,
                        PartNumber=number,
                        Body=data,
                    )
        self._progress.sent(file, len(data))
        return answer["ETag"]

    def _finish(self, file: SourceFile, upload: Upload, parts: "list[CompletedPartTypeDef]") -> None:
        """Call `CompleteMultipartUpload`, and wait for stores that take longer than their own gateway waits."""
        began = monotonic()
        try:
            with _noticing_gone(), attempting(f"finishing {upload.key} in {self._bucket}"):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=upload.key, UploadId=upload.id, MultipartUpload={"Parts": parts}
                )
        except UploadGone:
            # Our own request may have been heard after its answer was given up.
            if monotonic() - began < READ_TIMEOUT_S or not self._settles(upload.key, file.size):
                raise
        except StoreError as error:
            if not error.unclear or not self._settles(upload.key, file.size):
                raise

    def _settles(self, key: str, size: int) -> bool:
        """Wait until an object has its size."""
        retrying = Retrying(
            stop=stop_after_delay(FINISH_DEADLINE_S),
            wait=backoff(max=15),
            retry=retry_if_result(lambda found: found != size),
            retry_error_callback=lambda _: None,
        )
        return retrying(self._size, key) == size

    def _size(self, key: str) -> int | None:
        try:
            with attempting(f"looking for {key} in {self._bucket}"):
                return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except StoreError as error:
            if error.gone or error.passing:
                return None
            raise


def _patiently() -> Retrying:
    return Retrying(
        stop=stop_after_attempt(SEND_ATTEMPTS),
        wait=backoff(max=15),
        retry=retry_if_exception(_is_passing),
        reraise=True,
    )


def _is_passing(error: BaseException) -> bool:
    from botocore.exceptions import ClientError, HTTPClientError  # noqa: PLC0415, slow to import

    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500  # noqa: PLR2004, 5xx
    return isinstance(error, HTTPClientError)


class _noticing_gone:  # noqa: N801, used like a function
    """Tell an upload that is gone from other refusals."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        code = getattr(error, "s3_code", "") or getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in _GONE:
            raise UploadGone from None
