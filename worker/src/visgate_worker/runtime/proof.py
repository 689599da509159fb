"""Is what a faster runtime draws still what the eager pipeline draws: finite, and close by a stated measure.

The measure is the peak signal-to-noise ratio of the decoded pictures, in decibels, for one prompt and seed. Recipes
that only round differently have to reach `EXACT_DB`, those that approximate `NEAR_DB`. These are the floors that others
hold compiled and cached pipelines to.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visgate_worker.runtime.base import Clip
from visgate_worker.runtime.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

EXACT_DB = 28.0
NEAR_DB = 20.0
_SAME_DB = 100.0


def pixels_of(made: "Image | Clip") -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return the values of a picture or clip, from 0 to 1."""
    if isinstance(made, Clip):
        return np.asarray(made.frames, dtype=np.float32)
    return np.asarray(made.convert("RGB"), dtype=np.float32) / 255.0


def psnr_db(one: "Image | Clip", other: "Image | Clip") -> float:
    """Return how close two pictures are: 10·log10(1 / mean squared error), at most 100; 0 for other shapes.

    Args:
        one: Picture or clip.
        other: Another one.
    """
    a, b = pixels_of(one), pixels_of(other)
    if a.shape != b.shape:
        return 0.0
    error = float(np.mean(np.square(a - b, dtype=np.float64)))
    return _SAME_DB if error == 0.0 else min(_SAME_DB, -10.0 * math.log10(error))


def flaw_of(made: "Sequence[Image | Clip]") -> str | None:
    """Return what no picture should be: without numbers, or of one colour; None for pictures that are neither."""
    for one in made:
        pixels = pixels_of(one)
        if not np.isfinite(pixels).all():
            return "it drew values that are no numbers"
        if float(np.ptp(pixels)) == 0.0:
            return "it drew a picture of one colour"
    return None


def floor_db(recipe: Recipe) -> float:
    """Return how close a recipe's pictures have to be."""
    return EXACT_DB if recipe.is_exact else NEAR_DB
