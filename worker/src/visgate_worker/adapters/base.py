"""What an adapter makes of a job: calls of a pipeline."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from visgate_contract.tasks import Scheduler

# Arguments in which pictures that are drawn at once may differ.
PER_PICTURE = frozenset({"prompt", "negative_prompt"})


@dataclass(frozen=True, slots=True)
class LoraFile:
    """Weights that can be laid over a model's.

    Args:
        path: Where they lie.
        scale: How strongly they act.
    """

    path: Path
    scale: float


@dataclass(frozen=True, slots=True)
class Generation:
    """One call of a pipeline.

    Args:
        arguments: Keyword arguments of the call, without generator and callback.
        seed: Seed of the call's own generator.
        steps: Denoising steps that the call will report.
        pipeline: Class that is called, made of the loaded one's parts; the loaded one itself when left out.
        fps: Frames a second, for a call that makes a clip; None for one that makes a picture.
        scheduler: How the steps are taken; the model's own way when left out.
        loras: Weights that are laid over the model's.
    """

    arguments: Mapping[str, Any]
    seed: int
    steps: int
    pipeline: str | None = None
    fps: int | None = None
    scheduler: Scheduler | None = None
    loras: tuple[LoraFile, ...] = ()

    def key(self) -> Hashable | None:
        """Return what generations share that can be drawn at once; None for one that has to be drawn alone."""
        if self.fps is not None:
            return None
        alike = tuple(sorted((name, value) for name, value in self.arguments.items() if name not in PER_PICTURE))
        others = tuple(getattr(self, one.name) for one in fields(self) if one.name not in {"arguments", "seed"})
        key = (alike, frozenset(PER_PICTURE & self.arguments.keys()), others)
        try:
            hash(key)
        except TypeError:  # a picture is among them
            return None
        return key

    def pixels(self) -> int | None:
        """Return width times height, if the call names them."""
        width, height = self.arguments.get("width"), self.arguments.get("height")
        return int(width) * int(height) if width and height else None
