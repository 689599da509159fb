"""Task schemas: what a caller may ask of a model, with bounds and units."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

MAX_PROMPT_CHARACTERS = 8_000
MAX_SEED = 2**53 - 1  # JSON numbers are exact up to here in every language
MIN_SIDE, MAX_SIDE = 64, 2048
MAX_IMAGE_CHARACTERS = 6 * 1024 * 1024  # a data URI of 4.5 MB; Runpod takes 10 MB for a whole job

_IMAGE_REFERENCE = re.compile(r"https?://[^/?#]|data:image/(png|jpeg|webp);base64,", re.IGNORECASE)


class Task(StrEnum):
    """What a model is asked to do."""

    TEXT2IMG = "text2img"
    IMAGE2IMG = "image2img"
    TEXT2VIDEO = "text2video"


class ImageFormat(StrEnum):
    """File format of a generated picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        """Media type, as in RFC 9110."""
        return f"image/{self.value}"

    @property
    def file_extension(self) -> str:
        """How a file's name ends, without the dot."""
        return "jpg" if self is ImageFormat.JPEG else self.value


# Strict: JSON's true is not a number of steps, and "64" is not a width.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Side = Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=8, description="Pixels, a multiple of 8.")]


class Prompted(BaseModel):
    """What every task takes. Left-out values take the model family's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS, description="What to draw.")
    negative_prompt: str | None = Field(
        default=None, max_length=MAX_PROMPT_CHARACTERS, description="What to keep out of the picture."
    )
    width: Side | None = None
    height: Side | None = None
    steps: Integer | None = Field(default=None, ge=1, le=150, description="Denoising steps.")
    guidance_scale: Number | None = Field(default=None, ge=0, le=30, description="How strictly to follow the prompt.")
    seed: Integer | None = Field(
        default=None, ge=0, le=MAX_SEED, description="Same seed, same picture; random if left out."
    )


class PictureInput(Prompted):
    """What the tasks share that make pictures."""

    num_images: Integer = Field(default=1, ge=1, le=8, description="Pictures of one request; the n-th uses seed + n.")
    output_format: ImageFormat = ImageFormat.PNG

    @property
    def artifact_count(self) -> int:
        """How many files the task makes."""
        return self.num_images

    @property
    def content_type(self) -> str:
        """Media type of the files."""
        return self.output_format.content_type

    @property
    def file_extension(self) -> str:
        """How the files' names end, without the dot."""
        return self.output_format.file_extension


class Text2ImgInput(PictureInput):
    """Input of `text2img`. Left-out values take the model family's defaults."""

    task: Literal[Task.TEXT2IMG] = Task.TEXT2IMG


def _image_reference(value: str) -> str:
    if not _IMAGE_REFERENCE.match(value):
        message = "must be an https URL or a data URI that begins with data:image/png;base64, (or jpeg, or webp)"
        raise ValueError(message)
    return value


class Image2ImgInput(PictureInput):
    """Input of `image2img`. Left-out values take the model family's defaults, sizes those of the image."""

    task: Literal[Task.IMAGE2IMG] = Task.IMAGE2IMG
    image: Annotated[str, AfterValidator(_image_reference)] = Field(
        min_length=1,
        max_length=MAX_IMAGE_CHARACTERS,
        repr=False,
        description="Public https URL or base64 data URI of a PNG, JPEG or WebP picture to begin from. "
        "It is scaled, and cropped where its shape differs, to width and height.",
        examples=["https://example.com/fox.png"],
    )
    strength: Number | None = Field(
        default=None, gt=0, le=1, description="How far to go from the image: 1 keeps nothing of it."
    )


class Text2VideoInput(Prompted):
    """Input of `text2video`. Left-out values take the model family's defaults."""

    task: Literal[Task.TEXT2VIDEO] = Task.TEXT2VIDEO
    num_frames: Integer | None = Field(
        default=None, ge=5, le=257, description="Frames of the clip; most families take only some numbers."
    )
    fps: Integer | None = Field(default=None, ge=1, le=60, description="Frames a second.")

    @property
    def artifact_count(self) -> int:
        """How many files the task makes."""
        return 1

    @property
    def content_type(self) -> str:
        """Media type of the file."""
        return "video/mp4"

    @property
    def file_extension(self) -> str:
        """How the file's name ends, without the dot."""
        return "mp4"


def _default_task(value: Any) -> Any:
    """Name the task of an input that names none: before there were others, `text2img` was the only one."""
    if not isinstance(value, dict):
        return value
    return {"task": Task.TEXT2IMG, **cast("dict[str, object]", value)}


TaskInput = Annotated[
    Text2ImgInput | Image2ImgInput | Text2VideoInput, Field(discriminator="task"), BeforeValidator(_default_task)
]


def field_path(location: Sequence[str | int]) -> str:
    """Return the path of a field that validation complained about, without the union's tags.

    Args:
        location: `loc` of a pydantic error.
    """
    tags: frozenset[Any] = frozenset(Task)
    return ".".join(str(part) for part in location if part not in tags)
