"""Task schemas: what a caller may ask of a model, with bounds and units."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StrictBool, field_validator

MAX_PROMPT_CHARACTERS = 8_000
MAX_SEED = 2**53 - 1  # JSON numbers are exact up to here in every language
MIN_SIDE, MAX_SIDE = 64, 2048
MAX_IMAGE_CHARACTERS = 6 * 1024 * 1024  # a data URI of 4.5 MB; Runpod takes 10 MB for a whole job
MAX_IMAGE_BYTES = 25 * 1024 * 1024  # of a picture that a URL leads to
MAX_LORAS = 4
MAX_LORA_URL_CHARACTERS = 2_000
MIN_FRAMES, MAX_FRAMES = 5, 257

_IMAGE_REFERENCE = re.compile(r"https?://[^/?#]|data:image/(png|jpeg|webp);base64,", re.IGNORECASE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS_NAME = re.compile(r"[A-Za-z0-9][\w. -]*(/[A-Za-z0-9][\w. -]*)*\.safetensors")
_WEIGHTS_URL = re.compile(r"https?://[^/?#\s]+/[^?#\s]+(\?[^#\s]*)?", re.IGNORECASE)


class Task(StrEnum):
    """What a model is asked to do."""

    TEXT2IMG = "text2img"
    IMAGE2IMG = "image2img"
    INPAINT = "inpaint"
    TEXT2VIDEO = "text2video"
    IMAGE2VIDEO = "image2video"

    @property
    def makes_clips(self) -> bool:
        """What comes out moves."""
        return self in {Task.TEXT2VIDEO, Task.IMAGE2VIDEO}


class ImageFormat(StrEnum):
    """File format of a generated picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    AVIF = "avif"

    @property
    def content_type(self) -> str:
        """Media type, as in RFC 9110."""
        return f"image/{self.value}"

    @property
    def file_extension(self) -> str:
        """How a file's name ends, without the dot."""
        return "jpg" if self is ImageFormat.JPEG else self.value


class VideoFormat(StrEnum):
    """File format of a generated clip."""

    MP4 = "mp4"
    WEBM = "webm"

    @property
    def content_type(self) -> str:
        """Media type, as in RFC 9110."""
        return f"video/{self.value}"

    @property
    def file_extension(self) -> str:
        """How a file's name ends, without the dot."""
        return self.value


class Scheduler(StrEnum):
    """How the steps from noise to picture are taken; a model takes those of its kind."""

    DDIM = "ddim"
    DDPM = "ddpm"
    DEIS = "deis"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    EULER = "euler"
    EULER_ANCESTRAL = "euler_a"
    HEUN = "heun"
    LCM = "lcm"
    PNDM = "pndm"
    UNIPC = "unipc"


class Safety(StrEnum):
    """What becomes of a picture that the safety checker objects to."""

    OFF = "off"
    FLAG = "flag"
    BLANK = "blank"


# Strict: JSON's true is not a number of steps, and "64" is not a width.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Side = Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=8, description="Pixels, a multiple of 8.")]


class Lora(BaseModel):
    """Weights that are laid over the model's for one job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        min_length=3,
        max_length=MAX_LORA_URL_CHARACTERS,
        repr=False,
        description="Hub id, or public https URL of a .safetensors file.",
        examples=["org/watercolour-lora"],
    )
    weight_name: str | None = Field(
        default=None,
        max_length=200,
        description="File in the hub's repository; the only .safetensors file in it if left out.",
        examples=["watercolour.safetensors"],
    )
    scale: Number = Field(default=1.0, ge=-4, le=4, description="How strongly it acts.")

    @property
    def is_url(self) -> bool:
        """It is a file somewhere on the web, not a repository of the hub."""
        return "://" in self.path

    @field_validator("path")
    @classmethod
    def _names_a_repository_or_file(cls, value: str) -> str:
        if not (_HUB_ID.fullmatch(value) and ".." not in value) and not _WEIGHTS_URL.fullmatch(value):
            message = "must be a hub id such as org/name, or the https URL of a .safetensors file"
            raise ValueError(message)
        return value

    @field_validator("weight_name")
    @classmethod
    def _is_safe_weights(cls, value: str | None) -> str | None:
        if value is not None and (not _WEIGHTS_NAME.fullmatch(value) or ".." in value):
            message = "must be the name of a .safetensors file"
            raise ValueError(message)
        return value


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
    scheduler: Scheduler | None = Field(default=None, description="The model's own if left out.")
    loras: tuple[Lora, ...] = Field(default=(), max_length=MAX_LORAS, description="Weights laid over the model's.")
    safety: Safety | None = Field(
        default=None,
        description="What becomes of a picture that the safety checker objects to; the platform's policy if left out, "
        "which it can make stricter but not laxer.",
    )
    embed_metadata: StrictBool = Field(
        default=True, description="Write model, seed and parameters, the prompt among them, into the file."
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


class ClipInput(Prompted):
    """What the tasks share that make a clip."""

    num_frames: Integer | None = Field(
        default=None,
        ge=MIN_FRAMES,
        le=MAX_FRAMES,
        description="Frames of the clip; most families take only some numbers.",
    )
    fps: Integer | None = Field(default=None, ge=1, le=60, description="Frames a second.")
    output_format: VideoFormat = Field(default=VideoFormat.MP4, description="`mp4` is H.264, `webm` is VP9.")

    @property
    def artifact_count(self) -> int:
        """How many files the task makes."""
        return 1

    @property
    def content_type(self) -> str:
        """Media type of the file."""
        return self.output_format.content_type

    @property
    def file_extension(self) -> str:
        """How the file's name ends, without the dot."""
        return self.output_format.file_extension


def _image_reference(value: str) -> str:
    if not _IMAGE_REFERENCE.match(value):
        message = "must be an https URL or a data URI that begins with data:image/png;base64, (or jpeg, or webp)"
        raise ValueError(message)
    return value


ImageReference = Annotated[
    str,
    AfterValidator(_image_reference),
    Field(min_length=1, max_length=MAX_IMAGE_CHARACTERS, repr=False, examples=["https://example.com/fox.png"]),
]
Strength = Annotated[Number, Field(gt=0, le=1, description="How far to go from the image: 1 keeps nothing of it.")]


class Text2ImgInput(PictureInput):
    """Input of `text2img`. Left-out values take the model family's defaults."""

    task: Literal[Task.TEXT2IMG] = Task.TEXT2IMG


class Image2ImgInput(PictureInput):
    """Input of `image2img`. Left-out values take the model family's defaults, sizes those of the image."""

    task: Literal[Task.IMAGE2IMG] = Task.IMAGE2IMG
    image: ImageReference = Field(
        description="Public https URL or base64 data URI of a PNG, JPEG or WebP picture to begin from. "
        "It is scaled, and cropped where its shape differs, to width and height.",
    )
    strength: Strength | None = None


class InpaintInput(PictureInput):
    """Input of `inpaint`. Left-out values take the model family's defaults, sizes those of the image."""

    task: Literal[Task.INPAINT] = Task.INPAINT
    image: ImageReference = Field(
        description="Public https URL or base64 data URI of the PNG, JPEG or WebP picture of which a part is drawn "
        "anew. It is scaled, and cropped where its shape differs, to width and height.",
    )
    mask: ImageReference = Field(
        description="The same of a picture of the same shape: what is white is drawn anew, what is black is kept.",
    )
    strength: Strength | None = None


class Text2VideoInput(ClipInput):
    """Input of `text2video`. Left-out values take the model family's defaults."""

    task: Literal[Task.TEXT2VIDEO] = Task.TEXT2VIDEO


class Image2VideoInput(ClipInput):
    """Input of `image2video`. Left-out values take the model family's defaults, the clip's shape that of the image."""

    task: Literal[Task.IMAGE2VIDEO] = Task.IMAGE2VIDEO
    image: ImageReference = Field(
        description="Public https URL or base64 data URI of the PNG, JPEG or WebP picture that the clip begins with. "
        "It is scaled, and cropped where its shape differs, to width and height.",
    )


def _default_task(value: Any) -> Any:
    """Name the task of an input that names none: before there were others, `text2img` was the only one."""
    if not isinstance(value, dict):
        return value
    return {"task": Task.TEXT2IMG, **cast("dict[str, object]", value)}


TaskInput = Annotated[
    Text2ImgInput | Image2ImgInput | InpaintInput | Text2VideoInput | Image2VideoInput,
    Field(discriminator="task"),
    BeforeValidator(_default_task),
]


def image_references(params: Prompted) -> dict[str, str]:
    """Return the pictures that an input refers to, by field."""
    fields = ("image", "mask")
    return {name: reference for name in fields if (reference := getattr(params, name, None)) is not None}


def field_path(location: Sequence[str | int]) -> str:
    """Return the path of a field that validation complained about, without the union's tags.

    Args:
        location: `loc` of a pydantic error.
    """
    tags: frozenset[Any] = frozenset(Task)
    return ".".join(str(part) for part in location if part not in tags)
