"""What is in a picture of one shape on a ground, measured from its pixels alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = tuple[int, int, int]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """One shape.

    Args:
        ground: Colour of the picture's edge, by median.
        colour: Colour of the shape, by median.
        roundness: Intersection over union with the disc in its box; 1 for a circle, 0.79 for a square.
        squareness: The same with the box itself; 1 for a square, 0.79 for a circle.
        part: Of the picture that it covers.
    """

    ground: Rgb
    colour: Rgb
    roundness: float
    squareness: float
    part: float


def look(file: Path) -> Seen:
    """Measure a picture; what differs from its edge by more than half of the greatest difference is the shape."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.int64)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0)
    apart = np.abs(pixels - ground).max(axis=2)
    shape: Mask = apart > apart.max() / 2
    rows, columns = (np.flatnonzero(shape.any(axis=axis)) for axis in (1, 0))
    boxed = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(boxed.shape)
    y, x = np.ogrid[:side, :side]
    disc = np.hypot(x - (side - 1) / 2, y - (side - 1) / 2) <= side / 2
    return Seen(
        ground=_rgb(ground),
        colour=_rgb(np.median(pixels[shape], axis=0)),
        roundness=_overlap(boxed, disc),
        squareness=_overlap(boxed, np.ones((side, side), dtype=np.bool_)),
        part=float(shape.mean()),
    )


def _overlap(shape: Mask, ideal: Mask) -> float:
    """Compare in the middle of a square of the longer side."""
    placed = np.zeros_like(ideal)
    top, left = ((len(ideal) - length) // 2 for length in shape.shape)
    placed[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return float((placed & ideal).sum() / (placed | ideal).sum())


def _rgb(values: NDArray[np.float64]) -> Rgb:
    red, green, blue = (round(float(value)) for value in values)
    return red, green, blue
