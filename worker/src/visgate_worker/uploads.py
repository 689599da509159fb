"""Files to object storage, by presigned requests: in one piece or in parts, and not called there before it is seen."""

import logging
import math
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import Multipart, Upload
from visgate_worker.artifacts import size_of
from visgate_worker.failures import JobFailedError
from visgate_worker.urls import host_of

log = logging.getLogger(__name__)

DEADLINE_S = 120.0
SLOWEST_BYTES_PER_S = 500_000
ATTEMPTS = 6
PARTS_AT_ONCE = 4
REQUEST_S = 60.0

# Ours, of which nothing reads more than the numbers and tags.
_PART = "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
_COMPLETE = "<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"


class _TryAgain(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    pass


class _GoneError(Exception):
    """The store does not know the upload in parts, any more or yet."""


class Uploader:
    """Puts files where presigned URLs say.

    Args:
        client: HTTP client; must not follow redirects, since the signature is for one place.
        deadline_s: Seconds for one file, all attempts together; larger ones get more.
        first_wait_s: Wait before the second attempt, in seconds; doubles from there.
    """

    def __init__(
        self, client: httpx.Client | None = None, *, deadline_s: float = DEADLINE_S, first_wait_s: float = 0.25
    ) -> None:
        self._client = client or httpx.Client(follow_redirects=False)
        self._deadline_s = deadline_s
        self._first_wait_s = first_wait_s
        self._parts = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="part")

    def put(
        self, upload: Upload, data: bytes | Path, *, content_type: str, alive: Callable[[], object] = lambda: None
    ) -> None:
        """Put one file and see that the store has it whole; one that lies on disk is never in memory as a whole.

        Args:
            upload: Where it goes.
            data: The file.
            content_type: Its media type.
            alive: Called whenever something got further; may raise, which ends it.

        Raises:
            JobFailedError: The store refused it or could not be reached in time (`upload_failed`); holds no signature.
        """
        size = size_of(data)
        until = time.monotonic() + max(self._deadline_s, size / SLOWEST_BYTES_PER_S)
        if upload.multipart is not None and isinstance(data, Path) and _has_parts(upload.multipart, size):
            try:
                self._put_parts(upload, upload.multipart, data, until, alive)
                self._check(upload, size, content_type, until)
            except _GoneError:
                log.warning("the store does not know the upload in parts; the file goes in one piece")
            else:
                return
        self._retried(upload, lambda: self._put_whole(upload, data, content_type, until), until)
        if upload.multipart is not None:
            self._abort(upload.multipart)

    def close(self) -> None:
        """Close the connections."""
        self._parts.shutdown()
        self._client.close()

    def _retried(self, upload: Upload, once: Callable[[], str], until: float) -> str:
        attempts = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(max(0.0, until - time.monotonic())),
            wait=wait_random_exponential(multiplier=self._first_wait_s, max=10),
            reraise=True,
        )
        try:
            return attempts(once)
        except _TryAgain as error:
            raise _failed(upload, str(error)) from None

    def _put_whole(self, upload: Upload, data: bytes | Path, content_type: str, until: float) -> str:
        headers = {"content-type": content_type, **{name.lower(): value for name, value in upload.headers.items()}}
        if isinstance(data, Path):
            with data.open("rb") as file:  # its length is told, as presigned uploads demand
                self._send(upload, "PUT", upload.put_url, until, content=file, headers=headers)
        else:
            self._send(upload, "PUT", upload.put_url, until, content=data, headers=headers)
        self._see(upload, size_of(data), headers["content-type"], until)
        return ""

    def _put_parts(
        self, upload: Upload, multipart: Multipart, path: Path, until: float, alive: Callable[[], object]
    ) -> None:
        """Put a file in parts (`UploadPart`, `CompleteMultipartUpload`); what has arrived is not sent again."""

        def put(number: int) -> str:
            with path.open("rb") as file:
                file.seek((number - 1) * multipart.part_bytes)
                part = file.read(multipart.part_bytes)
            url = multipart.part_urls[number - 1]
            etag = self._retried(upload, lambda: self._etag(upload, url, part, until), until)
            alive()
            return _PART.format(number=number, etag=etag)

        count = math.ceil(size_of(path) / multipart.part_bytes)
        body = _COMPLETE.format(parts="".join(self._parts.map(put, range(1, count + 1)))).encode()
        self._retried(upload, lambda: self._complete(upload, multipart, body, until), until)

    def _etag(self, upload: Upload, url: str, part: bytes, until: float) -> str:
        answer = self._send(upload, "PUT", url, until, content=part, may_be_gone=True)
        etag = answer.headers.get("etag")
        if etag is None:
            raise _failed(upload, "it gave a part no ETag")
        return str(etag)

    def _complete(self, upload: Upload, multipart: Multipart, body: bytes, until: float) -> str:
        headers = {"content-type": "application/xml"}
        try:
            answer = self._send(
                upload, "POST", multipart.complete_url, until, content=body, headers=headers, may_be_gone=True
            )
        except _GoneError:
            return ""  # an answer was lost, and it is complete already; whether it is, is seen next
        # S3 can find out that it failed after it has begun to answer 200.
        if answer.content and ET.fromstring(answer.content).tag.rpartition("}")[2] == "Error":  # noqa: S314, the store is trusted with the file itself
            message = "it could not put the parts together"
            raise _TryAgain(message)
        return ""

    def _check(self, upload: Upload, size: int, content_type: str, until: float) -> None:
        def once() -> str:
            self._see(upload, size, content_type, until)
            return ""

        try:
            self._retried(upload, once, until)
        except JobFailedError:
            raise _GoneError from None

    def _see(self, upload: Upload, size: int, content_type: str, until: float) -> None:
        """See that the store has the whole file and calls it what it is (`HeadObject`)."""
        if upload.head_url is None:
            return
        answer = self._send(upload, "HEAD", upload.head_url, until, missing_again=True)
        has, calls_it = answer.headers.get("content-length"), answer.headers.get("content-type", "")
        if has != str(size) or calls_it.partition(";")[0] != content_type:
            message = f"it has {has} bytes of {calls_it or 'no type'} instead of {size} of {content_type}"
            raise _TryAgain(message)

    def _abort(self, multipart: Multipart) -> None:
        try:
            self._client.delete(multipart.abort_url, timeout=10)
        except httpx.HTTPError as error:
            log.info("an upload in parts that was not needed is left to the store: %s", type(error).__name__)

    def _send(
        self,
        upload: Upload,
        method: str,
        url: str,
        until: float,
        *,
        content: object = None,
        headers: dict[str, str] | None = None,
        may_be_gone: bool = False,
        missing_again: bool = False,
    ) -> httpx.Response:
        left_s = max(0.1, until - time.monotonic())
        try:
            answer = self._client.request(
                method,
                url,
                content=content,  # type: ignore[arg-type]  # bytes or a file
                headers=headers,
                timeout=min(REQUEST_S, left_s),
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _failed(upload, type(error).__name__) from None
        except httpx.TransportError as error:
            raise _TryAgain(type(error).__name__) from None
        if answer.is_success:
            return answer
        reason = f"status {answer.status_code}"
        log.warning("object storage answered %s with %s", method, reason)
        if answer.status_code == httpx.codes.NOT_FOUND and may_be_gone:
            raise _GoneError
        is_missing = missing_again and answer.status_code in {403, 404}
        if answer.status_code in {408, 429} or answer.is_server_error or is_missing:
            raise _TryAgain(reason)
        raise _failed(upload, reason)


def _has_parts(multipart: Multipart, size: int) -> bool:
    return multipart.part_bytes < size <= multipart.part_bytes * len(multipart.part_urls)


def _failed(upload: Upload, reason: str) -> JobFailedError:
    detail = f"The file could not be stored at {host_of(upload.put_url)}: {reason}."
    hint = (
        "Send the request again; if it stays so, check the bucket, that uploads may be read back (s3:GetObject), and "
    )
    hint += "that upload URLs live long enough."
    return JobFailedError(detail, hint=hint, code=ErrorCode.UPLOAD_FAILED)
