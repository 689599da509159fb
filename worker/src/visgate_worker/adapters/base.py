"""What an adapter makes of a job: calls of a pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Generation:
    """One call of a pipeline.

    Args:
        arguments: Keyword arguments of the call, without generator and callback.
        seed: Seed of the call's own generator.
        steps: Denoising steps that the call will report.
        pipeline: Class that is called, made of the loaded one's parts; the loaded one itself when left out.
        fps: Frames a second, for a call that makes a clip; None for one that makes a picture.
    """

    arguments: Mapping[str, Any]
    seed: int
    steps: int
    pipeline: str | None = None
    fps: int | None = None
