"""The shape of a runtime; imports no framework."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visgate_worker.adapters.base import Generation

if TYPE_CHECKING:
    from PIL.Image import Image

# Called after each denoising step with the number of steps done; raising ends the generation.
OnStep = Callable[[int], None]


class Runtime(Protocol):
    """Holds one pipeline and runs it."""

    def class_of(self, pipeline: str) -> type:
        """Return a pipeline class: the loaded one by its name, or another that can be made of the same parts."""
        ...

    def load(self, folder: Path) -> None:
        """Bring the model from a diffusers folder to the device."""
        ...

    def generate(self, generation: Generation, on_step: OnStep) -> "Image":
        """Run one call and return its picture.

        Raises:
            JobFailedError: The pipeline refused the values, failed, or withheld the picture.
        """
        ...
