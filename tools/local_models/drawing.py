"""What the model learns from: flat shapes, drawn in batches from signed distances."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RGB = tuple[float, float, float]

COLOURS: Mapping[str, RGB] = {
    "red": (0.86, 0.12, 0.14),
    "orange": (0.97, 0.53, 0.08),
    "yellow": (0.98, 0.83, 0.12),
    "green": (0.10, 0.60, 0.24),
    "turquoise": (0.13, 0.72, 0.70),
    "blue": (0.11, 0.29, 0.82),
    "purple": (0.48, 0.17, 0.68),
    "pink": (0.96, 0.46, 0.68),
    "brown": (0.47, 0.29, 0.15),
    "black": (0.05, 0.05, 0.06),
    "grey": (0.50, 0.50, 0.52),
    "white": (0.99, 0.99, 0.99),
}
# Where a sentence names no background, it is one of these.
PALE: Sequence[RGB] = (
    (0.99, 0.99, 0.99),
    (0.98, 0.95, 0.88),
    (0.88, 0.94, 0.98),
    (0.91, 0.96, 0.89),
    (0.97, 0.90, 0.91),
    (0.92, 0.90, 0.96),
)


def _convex(x: Tensor, y: Tensor, sides: int, apothem: float, first_degrees: float) -> Tensor:
    angles = torch.deg2rad(first_degrees + torch.arange(sides) * (360.0 / sides))
    return torch.stack([x * a.cos() + y * a.sin() - apothem for a in angles]).amax(0)


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(x.abs() - width, y.abs() - height)


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Five points: the plane is folded onto one edge, from a point to the notch beside it."""
    fold = torch.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + fold, 2 * fold) - fold
    radius = torch.hypot(x, y)
    along, aside = radius * angle.cos(), radius * angle.abs().sin()
    point, notch = 1.12, 0.47
    edge_along, edge_aside = notch * math.cos(fold) - point, notch * math.sin(fold)
    return ((along - point) * edge_aside - aside * edge_along) / math.hypot(edge_along, edge_aside)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    half = 0.66
    turned_u, turned_v = (x + (y - 0.12)) / 2**0.5, (x - (y - 0.12)) / 2**0.5
    square = _box(turned_u, turned_v, half, half)
    shift = half / 2**0.5
    lobes = torch.minimum(torch.hypot(x - shift, y - 0.12 + shift), torch.hypot(x + shift, y - 0.12 + shift)) - half
    return torch.minimum(square, lobes)


# Signed distance from the edge, negative inside, for a shape of radius one around the origin; y points down.
SHAPES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda x, y: torch.hypot(x, y) - 0.95,
    "square": lambda x, y: _box(x, y, 0.84, 0.84),
    "triangle": lambda x, y: _convex(x, y - 0.18, 3, 0.58, 90),
    "diamond": lambda x, y: (x.abs() * 1.25 + y.abs() - 1.15) / 1.6,
    "star": _star,
    "heart": _heart,
    "ring": lambda x, y: (torch.hypot(x, y) - 0.74).abs() - 0.24,
    "cross": lambda x, y: torch.minimum(_box(x, y, 0.95, 0.32), _box(x, y, 0.32, 0.95)),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One shape; lengths are parts of the picture's sides, the radius of the shorter one; `y` points down."""

    shape: str
    colour: RGB
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture in words of geometry."""

    background: RGB
    items: tuple[Item, ...]


def draw(scenes: Sequence[Scene], *, width: int, height: int) -> Tensor:
    """Draw scenes with smooth edges.

    Args:
        scenes: What to draw.
        width: In pixels.
        height: In pixels.

    Returns:
        Pictures of shape (scenes, 3, height, width), from -1 to 1.
    """
    grounds = torch.tensor([scene.background for scene in scenes])[:, :, None, None]
    picture = grounds.expand(-1, -1, height, width).clone()
    across = (torch.arange(width) + 0.5)[None, None, :]
    down = (torch.arange(height) + 0.5)[None, :, None]
    for layer in range(max(len(scene.items) for scene in scenes)):
        for shape, distance in SHAPES.items():
            items = {
                n: scene.items[layer]
                for n, scene in enumerate(scenes)
                if len(scene.items) > layer and scene.items[layer].shape == shape
            }
            if not items:
                continue
            x, y, radius = (
                torch.tensor([scale * getattr(item, name) for item in items.values()])[:, None, None]
                for name, scale in (("x", width), ("y", height), ("radius", min(width, height)))
            )
            edge = distance((across - x) / radius, (down - y) / radius) * radius
            cover = (0.5 - edge).clamp(0, 1)[:, None]
            colour = torch.tensor([item.colour for item in items.values()])[:, :, None, None]
            where = list(items)
            picture[where] = picture[where] * (1 - cover) + colour * cover
    return picture * 2 - 1
