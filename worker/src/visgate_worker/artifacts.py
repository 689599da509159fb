"""Pictures and clips to files, and files to object storage."""

import hashlib
import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import Upload
from visgate_contract.tasks import ClipInput, ImageFormat, TaskInput
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.base import Clip
from visgate_worker.urls import host_of
from visgate_worker.video import encode_mp4

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


@dataclass(frozen=True, slots=True)
class File:
    """An encoded artifact.

    Args:
        content: The bytes, or where they lie.
        width: Pixels.
        height: Pixels.
        num_frames: Of a video.
        fps: Frames a second, of a video.
    """

    content: bytes | Path
    width: int
    height: int
    num_frames: int | None = None
    fps: int | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    @property
    def duration_s(self) -> float | None:
        """Length of a video, in seconds."""
        return self.num_frames / self.fps if self.num_frames and self.fps else None


def file_of(made: "Image | Clip", params: TaskInput, scratch: Path) -> File:
    """Encode what a task has made.

    Args:
        made: A picture or a clip.
        params: The task's input, which says the format.
        scratch: Folder for what is too large for memory.

    Raises:
        JobFailedError: The model made values that are no colours (`generation_failed`).
    """
    if isinstance(made, Clip):
        destination = scratch / f"clip.{params.file_extension}"
        encode_mp4(made, destination)
        count, height, width = made.frames.shape[:3]
        return File(destination, width, height, count, made.fps)
    image_format = ImageFormat.PNG if isinstance(params, ClipInput) else params.output_format
    return File(encode(made, image_format), made.width, made.height)


def sha256(content: bytes | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()


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

    def put(self, upload: Upload, data: bytes | Path, *, content_type: str) -> None:
        """Put one file (`PUT`, as S3 PutObject); one that lies on disk is never in memory as a whole.

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

    def _put_once(self, upload: Upload, data: bytes | Path, content_type: str, until: float) -> None:
        headers = {"content-type": content_type, **{name.lower(): value for name, value in upload.headers.items()}}
        left_s = max(0.1, until - time.monotonic())
        timeout_s = min(60.0, left_s)
        try:
            if isinstance(data, Path):
                with data.open("rb") as file:  # its length is told, as presigned uploads demand
                    answer = self._client.put(upload.put_url, content=file, headers=headers, timeout=timeout_s)
            else:
                answer = self._client.put(upload.put_url, content=data, headers=headers, timeout=timeout_s)
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
    detail = f"The file could not be stored at {host_of(upload.put_url)}: {reason}."
    hint = "Send the request again; if it stays so, check the bucket and that upload URLs live long enough."
    return JobFailedError(detail, hint=hint, code=ErrorCode.UPLOAD_FAILED)
