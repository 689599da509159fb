"""The shape of a runtime; imports no framework."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from visgate_contract.events import RuntimeReport
from visgate_worker.adapters.base import Generation

if TYPE_CHECKING:
    from PIL.Image import Image

    from visgate_worker.safety import Checker

# Called after each denoising step with the number of steps done; raising ends the generation.
OnStep = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Clip:
    """A video in memory.

    Args:
        frames: Array of frames, height, width and red, green, blue, from 0 to 1.
        fps: Frames a second.
    """

    frames: Any
    fps: int


class Runtime(Protocol):
    """Holds one pipeline and runs it."""

    def class_of(self, pipeline: str) -> type:
        """Return a pipeline class: the loaded one by its name, or another that can be made of the same parts."""
        ...

    def load(self, folder: Path) -> None:
        """Bring the model from a diffusers folder to the device."""
        ...

    @property
    def checker(self) -> "Checker | None":
        """The safety checker that the model brings along; it is not left to the pipeline, which blanks silently."""
        ...

    def generate(self, batch: Sequence[Generation], on_step: OnStep) -> "list[Image | Clip]":
        """Run one call for generations that differ in nothing but prompt and seed, and return what it made, in order.

        Raises:
            JobFailedError: The pipeline refused the values, or failed.
        """
        ...

    def improve(self, check: OnStep = ...) -> bool:
        """Try what might be better while nothing waits; returns whether something else runs from now on."""
        ...

    def report(self) -> RuntimeReport:
        """Say what runs the model, and the most memory held since the last report."""
        ...
