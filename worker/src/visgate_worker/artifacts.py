"""Pictures and clips to files, with what made them written inside, and the small pictures that stand for them."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import ClipInput, ImageFormat, TaskInput
from visgate_worker.failures import JobFailedError
from visgate_worker.provenance import xmp
from visgate_worker.runtime.base import Clip
from visgate_worker.video import encode_clip, frame_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_SIDE = 320

# The same picture gives the same bytes: fixed settings, one thread where more would show.
_ENCODING: dict[ImageFormat, dict[str, Any]] = {
    ImageFormat.PNG: {"compress_level": 4},
    ImageFormat.JPEG: {"quality": 92, "subsampling": 0},
    ImageFormat.WEBP: {"quality": 92, "method": 4},
    ImageFormat.AVIF: {"quality": 82, "speed": 8, "subsampling": "4:4:4"},
}
# How files of a type begin, and where.
_BEGINS: dict[str, tuple[int, bytes]] = {
    "image/png": (0, b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": (0, b"\xff\xd8\xff"),
    "image/webp": (8, b"WEBP"),
    "image/avif": (4, b"ftypavif"),
    "video/mp4": (4, b"ftyp"),
    "video/webm": (0, b"\x1a\x45\xdf\xa3"),
}


@dataclass(frozen=True, slots=True)
class File:
    """An encoded artifact.

    Args:
        content: The bytes, or where they lie.
        content_type: Media type.
        width: Pixels.
        height: Pixels.
        thumbnail: A small WebP picture of it.
        poster: The first frame of a video, as JPEG.
        num_frames: Of a video.
        fps: Frames a second, of a video.
    """

    content: bytes | Path
    content_type: str
    width: int
    height: int
    thumbnail: bytes
    poster: bytes | None = None
    num_frames: int | None = None
    fps: int | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return size_of(self.content)

    @property
    def duration_s(self) -> float | None:
        """Length of a video, in seconds."""
        return self.num_frames / self.fps if self.num_frames and self.fps else None


def file_of(made: "Image | Clip", params: TaskInput, scratch: Path, *, about: str | None) -> File:
    """Encode what a task has made.

    Args:
        made: A picture or a clip.
        params: The task's input, which says the format.
        scratch: Folder for what is too large for memory.
        about: What made it, to be written into the file.

    Raises:
        JobFailedError: The model made values that are no colours (`generation_failed`).
    """
    if isinstance(made, Clip):
        file = _clip(made, params, scratch, about)
    else:
        image_format = ImageFormat.PNG if isinstance(params, ClipInput) else params.output_format
        content = encode(made, image_format, xmp(about))
        file = File(content, image_format.content_type, made.width, made.height, thumbnail(made))
    check_type(file.content, file.content_type)
    return file


def _clip(clip: Clip, params: TaskInput, scratch: Path, about: str | None) -> File:
    from PIL import Image  # noqa: PLC0415, diffusers needs it anyway, but later

    destination = scratch / f"clip.{params.file_extension}"
    encode_clip(clip, destination, comment=about)
    count, height, width = clip.frames.shape[:3]
    first = Image.fromarray(frame_pixels(clip.frames[0]))
    poster = encode(first, ImageFormat.JPEG, xmp(about))
    return File(destination, params.content_type, width, height, thumbnail(first), poster, count, clip.fps)


def encode(picture: "Image", image_format: ImageFormat, packet: bytes | None = None) -> bytes:
    """Return the file; the same pixels give the same bytes.

    Args:
        picture: The picture.
        image_format: How it is written.
        packet: XMP packet to be written into it.
    """
    more: dict[str, Any] = {}
    if packet is not None and image_format is ImageFormat.PNG:
        from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415, as above

        more["pnginfo"] = PngInfo()
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
    elif packet is not None:
        more["xmp"] = packet
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format=image_format.value.upper(), **_ENCODING[image_format], **more)
    return buffer.getvalue()


def thumbnail(picture: "Image") -> bytes:
    """Return a small WebP picture of a picture; one that is small already keeps its size."""
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=80, method=4)
    return buffer.getvalue()


def check_type(content: bytes | Path, content_type: str) -> None:
    """See that a file is of the type that is said of it.

    Raises:
        JobFailedError: It begins as files of another type do (`internal`).
    """
    at, begins = _BEGINS[content_type]
    if isinstance(content, Path):
        with content.open("rb") as file:
            head = file.read(at + len(begins))
    else:
        head = content[: at + len(begins)]
    if head[at:] != begins:
        detail = f"The encoder made something that is no {content_type}."
        raise JobFailedError(detail, hint="Ask for another output_format.", code=ErrorCode.INTERNAL)


def sha256(content: bytes | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()


def size_of(content: bytes | Path) -> int:
    """Return the size of a file in bytes."""
    return content.stat().st_size if isinstance(content, Path) else len(content)
