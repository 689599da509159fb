"""What the pipeline classes of the installed diffusers take, as data, so that the gateway can know it without them.

`pipelines.json` is written from the classes themselves by `make pipelines`, and a test holds it to them.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from visgate_contract.tasks import Task

TABLE = "pipelines.json"

# Arguments that bring a picture, a clip or a sound in. Masks of prompts and numbers about pictures only sound so.
_INPUT = re.compile(r"image|mask|video|audio|control|condition|frames|pose|reference|action|lyrics")
_NO_INPUT = re.compile(
    r"ip_adapter|_per_prompt|(?<!conditioning)_scale$|_rescale$|embeds|latents|attention_mask|num_frames|"
    r"micro_conditioning|image_noise|video_noise|padding_mask_crop|last_image|image_crf"
)
_PROMPTED = ("prompt", "num_inference_steps", "generator")
_SIZED = ("height", "width")
_DRAWING = frozenset({"height", "strength", "num_images_per_prompt"})  # pipelines that write take none of these
_INPUTS: Mapping[Task, frozenset[str]] = {
    Task.TEXT2IMG: frozenset(),
    Task.IMAGE2IMG: frozenset({"image"}),
    Task.INPAINT: frozenset({"image", "mask_image"}),
    Task.TEXT2VIDEO: frozenset(),
    Task.IMAGE2VIDEO: frozenset({"image"}),
}


class Signature(BaseModel):
    """What calling a pipeline class takes.

    Args:
        takes: Names of its arguments, without those for tensors.
        needs: Those of them without a default.
        steps: Its own number of denoising steps.
        strength: Its own strength.
        pixels: Width times height of its own size.
        has_loras: It can lay other weights over its own.
        siblings: Classes that do other tasks with the same parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    takes: frozenset[str]
    needs: frozenset[str] = frozenset()
    steps: int | None = None
    strength: float | None = None
    pixels: int | None = None
    has_loras: bool = False
    siblings: Mapping[Task, str] = Field(default_factory=dict[Task, str])

    @property
    def inputs(self) -> frozenset[str]:
        """The arguments that bring a picture, a clip or a sound in."""
        return frozenset(name for name in self.takes if _INPUT.search(name) and not _NO_INPUT.search(name))

    def does(self, task: Task, *, is_listed: bool = False) -> bool:
        """Tell whether a call is that of a task.

        Args:
            task: Task.
            is_listed: The class is known to do it, so that further inputs are known to be optional.
        """
        inputs = _INPUTS[task]
        wanted = {*_PROMPTED, *inputs, *(() if inputs else _SIZED)}
        if not wanted <= self.takes or task.makes_clips != ("num_frames" in self.takes):
            return False
        if not task.makes_clips and not _DRAWING & self.takes:
            return False
        return (is_listed or self.inputs == inputs) and self.needs <= wanted

    @property
    def problem(self) -> str:
        """Why a class does no task."""
        if missing := [name for name in _PROMPTED if name not in self.takes]:
            return f"it takes no {' and no '.join(missing)}"
        if needs := sorted(self.needs - {*_PROMPTED, "image", "mask_image"}):
            return f"it needs {', '.join(needs)}, which no task has"
        if inputs := sorted(self.inputs - {"image", "mask_image"}):
            return f"it works from {', '.join(inputs)}, which no task has"
        return "it makes neither a picture nor a clip of a size that can be asked for"


class Catalogue(BaseModel):
    """The table.

    Args:
        diffusers: Version that it was written from.
        parts: Where diffusers finds the classes of a pipeline's parts: its own modules and libraries.
        pipelines: Signatures by class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    diffusers: str
    parts: frozenset[str]
    pipelines: Mapping[str, Signature]


@cache
def catalogue() -> Catalogue:
    """Return the table, which is read when it is first asked for."""
    return Catalogue.model_validate_json(files("visgate_contract").joinpath(TABLE).read_bytes())


def signature_of(pipeline: str) -> Signature | None:
    """Return what calling a class takes; None for one that the workers' diffusers does not have."""
    return catalogue().pipelines.get(pipeline)
