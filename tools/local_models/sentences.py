"""Draws scenes by lot and says what is in them, in many ways, so that a model learns words and not a form."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.local_models.drawing import COLOURS, PALE, RGB, SHAPES, Item, Scene

_ALSO: Mapping[str, Sequence[str]] = {
    "circle": ("disc", "dot", "ball"),
    "square": ("box",),
    "diamond": ("rhombus",),
    "ring": ("donut",),
    "cross": ("plus",),
    "purple": ("violet",),
    "turquoise": ("teal",),
    "grey": ("gray",),
}
_BEFORE = ("a picture of", "a painting of", "a drawing of", "draw", "please draw", "a photo of", "an image of")
_BACKGROUNDS = ("on {}", "on {}", "on a {} background", "on {} paper", "against {}", ", {} background")
# What the model has no picture of: it draws some shape in the colour that is asked for.
_NOBODY_KNOWS = ("fox", "whale", "house", "cat", "robot", "forest", "flower", "shape", "thing")
_RADIUS, _OFF_CENTRE, _LEAST_CONTRAST = (0.26, 0.3), 0.02, 0.3


@dataclass(frozen=True, slots=True)
class Sentence:
    """A scene and what is said of it.

    Args:
        text: The prompt.
        scene: Its picture.
        facts: Which shape, colour and ground it is, each as a number; `CHOICES` says of how many.
    """

    text: str
    scene: Scene
    facts: tuple[int, ...]


# A ground that is not named counts as one more.
CHOICES = (len(SHAPES), len(COLOURS), len(COLOURS) + 1)


class Lots:
    """Draws sentences and their scenes.

    Args:
        seed: Same seed, same sentences.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def sentence(self) -> Sentence:
        """Return one."""
        rng = self._rng
        said_ground, ground = self._ground()
        shape = rng.choice(tuple(SHAPES))
        colour = rng.choice([name for name, one in COLOURS.items() if contrast(one, ground) >= _LEAST_CONTRAST])
        x, y = (0.5 + rng.uniform(-_OFF_CENTRE, _OFF_CENTRE) for _ in range(2))
        item = Item(shape, COLOURS[colour], x, y, rng.uniform(*_RADIUS))
        facts = (
            list(SHAPES).index(shape),
            list(COLOURS).index(colour),
            [*COLOURS.values()].index(ground) if said_ground else len(COLOURS),
        )
        return Sentence(self._say(said_ground, shape, colour), Scene(ground, (item,)), facts)

    def _ground(self) -> tuple[str, RGB]:
        if self._rng.random() < 0.35:
            return "", self._rng.choice(PALE)
        name = "white" if self._rng.random() < 0.3 else self._rng.choice(tuple(COLOURS))
        return self._rng.choice(_BACKGROUNDS).format(self._said(name)), COLOURS[name]

    def _say(self, ground: str, shape: str, colour: str) -> str:
        rng = self._rng
        noun = rng.choice(_NOBODY_KNOWS) if rng.random() < 0.03 else self._said(shape)
        thing = f"{self._said(colour)} {noun}"
        if rng.random() < 0.9:
            thing = f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
        parts = [thing, ground]
        if rng.random() < 0.15 and not ground.startswith(","):
            parts = [ground, thing]
        before = rng.choice(_BEFORE) if rng.random() < 0.15 else ""
        return " ".join(part for part in (before, *parts) if part).replace(" ,", ",")

    def _said(self, word: str) -> str:
        """Return the word, or another for the same."""
        others = _ALSO.get(word, ())
        return self._rng.choice(others) if others and self._rng.random() < 0.3 else word


def contrast(one: RGB, other: RGB) -> float:
    """Return how far apart two colours are, from 0 to 1."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
