"""Task schemas: what a caller may ask of a model, with bounds and units."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

MAX_PROMPT_CHARACTERS = 8_000
MAX_SEED = 2**53 - 1  # JSON numbers are exact up to here in every language


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


# Strict: JSON's true is not a number of steps, and "64" is not a width.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Side = Annotated[Integer, Field(ge=64, le=2048, multiple_of=8, description="Pixels, a multiple of 8.")]


class Text2ImgInput(BaseModel):
    """Input of `text2img`. Left-out values take the model family's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Literal[Task.TEXT2IMG] = Task.TEXT2IMG
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
    num_images: Integer = Field(default=1, ge=1, le=8, description="Pictures of one request; the n-th uses seed + n.")
    output_format: ImageFormat = ImageFormat.PNG


# One more schema a task: the union becomes discriminated by `task` when the second arrives.
TaskInput = Text2ImgInput
