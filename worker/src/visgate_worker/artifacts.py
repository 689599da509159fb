"""Pictures to files, and files to object storage."""

import hashlib
import io
import logging
import time
from typing import TYPE_CHECKING

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import Upload
from visgate_contract.tasks import ImageFormat
from visgate_worker.failures import JobFailedError
from visgate_worker.urls import host_of

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

UPLOAD_DEADLINE_S = 120.0
UPLOAD_ATTEMPTS = 6

# The same picture gives the same bytes: fixed settings, and no metadata is written.
_ENCODING: dict[ImageFormat, dict[str, int | bool]] = {
    ImageFormat.PNG: {"compress_level": 4},
    ImageFormat.JPEG: {"quality": 92, "subsampling": 0},
    ImageFormat.WEBP: {"quality": 92, "method": 4},
}


def encode(picture: "Image", image_format: ImageFormat) -> bytes:
    """Return the file; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format=image_format.value.upper(), **_ENCODING[image_format])
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class _TryAgain(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Uploader:
    """Puts files where presigned URLs say.

    Args:
        client: HTTP client; must not follow redirects, since the signature is for one place.
        deadline_s: Seconds for one file, all attempts together.
        first_wait_s: Wait before the second attempt, in seconds; doubles from there.
    """

    def __init__(
        self,
        client: httpx.Client | None = None,
        *,
        deadline_s: float = UPLOAD_DEADLINE_S,
        first_wait_s: float = 0.25,
    ) -> None:
        self._client = client or httpx.Client(follow_redirects=False)
        self._deadline_s = deadline_s
        self._first_wait_s = first_wait_s

    def put(self, upload: Upload, data: bytes, *, content_type: str) -> None:
        """Put one file (`PUT`, as S3 PutObject).

        Raises:
            JobFailedError: The store refused it or could not be reached in time (`upload_failed`); holds no signature.
        """
        until = time.monotonic() + self._deadline_s
        attempts = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(UPLOAD_ATTEMPTS) | stop_after_delay(self._deadline_s),
            wait=wait_random_exponential(multiplier=self._first_wait_s, max=10),
            reraise=True,
        )
        try:
            attempts(self._put_once, upload, data, content_type, until)
        except _TryAgain as error:
            raise _failed(upload, str(error)) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put_once(self, upload: Upload, data: bytes, content_type: str, until: float) -> None:
        headers = {"content-type": content_type, **{name.lower(): value for name, value in upload.headers.items()}}
        left_s = max(0.1, until - time.monotonic())
        try:
            answer = self._client.put(upload.put_url, content=data, headers=headers, timeout=min(60.0, left_s))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _failed(upload, type(error).__name__) from None
        except httpx.TransportError as error:
            raise _TryAgain(type(error).__name__) from None
        if answer.is_success:
            return
        reason = f"status {answer.status_code}"
        log.warning("object storage answered with %s", reason)
        if answer.status_code in {408, 429} or answer.is_server_error:
            raise _TryAgain(reason)
        raise _failed(upload, reason)


def _failed(upload: Upload, reason: str) -> JobFailedError:
    detail = f"The picture could not be stored at {host_of(upload.put_url)}: {reason}."
    hint = "Send the request again; if it stays so, check the bucket and that upload URLs live long enough."
    return JobFailedError(detail, hint=hint, code=ErrorCode.UPLOAD_FAILED)
