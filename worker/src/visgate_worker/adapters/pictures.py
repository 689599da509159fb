"""The size that a job draws in, and pictures brought to it."""

import math
from typing import TYPE_CHECKING

from visgate_contract.tasks import MAX_SIDE, MIN_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image


def fitting(
    size: tuple[int, int],
    *,
    width: int | None,
    height: int | None,
    multiple: int,
    max_pixels: int,
    pixels: int | None = None,
) -> tuple[int, int]:
    """Return the size to draw in: as asked, else that of the picture, within the bounds.

    Args:
        size: Width and height of the picture.
        width: As asked, if it was; a side that was not follows from the other by the picture's shape.
        height: As asked, if it was.
        multiple: Of which sides that were not asked for become a multiple.
        max_pixels: Width times height of a size that was not asked for is at most this.
        pixels: Width times height of a size that was not asked for is about this; that of the picture when left out.
    """
    own_width, own_height = size
    if width is None and height is None:
        wanted = math.sqrt(pixels / (own_width * own_height)) if pixels else 1.0
        scale = min(wanted, MAX_SIDE / max(size), math.sqrt(max_pixels / (own_width * own_height)))
        return _side(own_width * scale, multiple), _side(own_height * scale, multiple)
    if width is None:
        return _side(own_width * (height or own_height) / own_height, multiple), height or own_height
    return width, _side(own_height * width / own_width, multiple) if height is None else height


def _side(length: float, multiple: int) -> int:
    rounded = int(length + 0.5) // multiple * multiple
    return max(math.ceil(MIN_SIDE / multiple) * multiple, min(rounded, MAX_SIDE // multiple * multiple))


def fitted(image: "Image", width: int, height: int) -> "Image":
    """Return a picture of this size, scaled, and cropped at the middle where its shape differs."""
    from PIL import Image, ImageOps  # noqa: PLC0415, loaded when there is a picture

    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
