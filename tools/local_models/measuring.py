"""What is in a picture, measured: the colours of ground and shape, and which shape its outline is closest to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from tools.local_models.drawing import COLOURS, PALE, RGB, SHAPES, Item, Scene, draw

_SIDE = 48
_LEAST_PART = 0.002


@dataclass(frozen=True, slots=True)
class Seen:
    """One shape on a ground.

    Args:
        shape: The shape whose outline is closest.
        overlap: Intersection over union with that outline, when both fill the same box.
        colour: Closest colour of the shape.
        ground: Closest colour of the ground; `pale` for any of the pale ones.
        x: Centre of its box, as a part of the side.
        y: The same, from above.
        radius: Half of the longer side of its box, as a part of the side.
    """

    shape: str
    overlap: float
    colour: str
    ground: str
    x: float
    y: float
    radius: float


def look(picture: Tensor) -> Seen | None:
    """Return what is seen in a picture, or None when there is nothing but ground.

    Args:
        picture: Of shape (3, side, side), from -1 to 1.
    """
    picture = (picture.clamp(-1, 1) + 1) / 2
    side = picture.shape[-1]
    border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    ground = border.median(dim=1).values
    apart = (picture - ground[:, None, None]).abs().amax(0)
    mask = apart > apart.max() / 2
    if apart.max() < 0.1 or mask.float().mean() < _LEAST_PART:
        return None
    rows, columns = (torch.nonzero(mask.any(dim=dim)).flatten() for dim in (1, 0))
    top, bottom, left, right = (int(edge) for edge in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    outline = _boxed(mask[top:bottom, left:right].float())
    overlaps = {name: _overlap(outline, template) for name, template in _templates().items()}
    shape = max(overlaps, key=overlaps.__getitem__)
    # The median is not moved by the smooth edge.
    colour = picture[:, mask].median(dim=1).values
    grounds: dict[str, RGB] = {**COLOURS, **{f"pale {n}": pale for n, pale in enumerate(PALE)}}
    return Seen(
        shape=shape,
        overlap=overlaps[shape],
        colour=_nearest(colour, COLOURS),
        ground=_nearest(ground, grounds).partition(" ")[0],
        x=(left + right) / 2 / side,
        y=(top + bottom) / 2 / side,
        radius=max(right - left, bottom - top) / 2 / side,
    )


@cache
def _templates() -> Mapping[str, Tensor]:
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    scenes = [Scene(black, (Item(shape, white, 0.5, 0.5, 0.35),)) for shape in SHAPES]
    masks = draw(scenes, width=128, height=128)[:, 0] > 0
    found = {}
    for shape, mask in zip(SHAPES, masks, strict=True):
        rows, columns = (torch.nonzero(mask.any(dim=dim)).flatten() for dim in (1, 0))
        found[shape] = _boxed(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float())
    return found


def _boxed(mask: Tensor) -> Tensor:
    """Scale an outline's box to one size, with the same scale in both directions."""
    height, width = mask.shape
    size = max(height, width)
    padded = torch.zeros(size, size)
    top, left = (size - height) // 2, (size - width) // 2
    padded[top : top + height, left : left + width] = mask
    return functional.interpolate(padded[None, None], (_SIDE, _SIDE), mode="area")[0, 0] > 0.5


def _overlap(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


def _nearest(colour: Tensor, named: Mapping[str, RGB]) -> str:
    return min(named, key=lambda name: float((colour - torch.tensor(named[name])).square().sum()))
