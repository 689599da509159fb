"""What a pipeline can do, read from its `model_index.json` and never from the model's name.

The class of a pipeline decides its family, and the family the tasks. A class that is not listed is not refused here:
the worker looks at its signature, which only it can import.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.tasks import Task

MODEL_INDEX = "model_index.json"


class Family(StrEnum):
    """Pipelines that are driven in the same way."""

    STABLE_DIFFUSION = "stable-diffusion"
    STABLE_DIFFUSION_XL = "stable-diffusion-xl"
    STABLE_DIFFUSION_3 = "stable-diffusion-3"
    FLUX = "flux"
    FLUX_2 = "flux-2"
    QWEN_IMAGE = "qwen-image"
    Z_IMAGE = "z-image"
    PIXART = "pixart"
    SANA = "sana"
    WAN = "wan"
    LTX = "ltx"
    COGVIDEOX = "cogvideox"
    HUNYUAN_VIDEO = "hunyuan-video"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a pipeline class is for.

    Args:
        pipeline: Class name in `model_index.json`.
        family: Family of the class; None for a class that is not listed.
        tasks: Tasks of the family; empty for a class that is not listed.
    """

    pipeline: str
    family: Family | None = None
    tasks: frozenset[Task] = frozenset()

    @property
    def is_known(self) -> bool:
        """The class is listed, so its tasks are certain."""
        return self.family is not None


_TEXT_TO_IMAGE = frozenset({Task.TEXT2IMG})
_PICTURES = frozenset({Task.TEXT2IMG, Task.IMAGE2IMG})
_TEXT_TO_VIDEO = frozenset({Task.TEXT2VIDEO})
_IMAGE_TO_IMAGE = frozenset({Task.IMAGE2IMG})
_NOTHING: frozenset[Task] = frozenset()

_PIPELINES: Mapping[str, tuple[Family, frozenset[Task]]] = {
    "StableDiffusionPipeline": (Family.STABLE_DIFFUSION, _PICTURES),
    "StableDiffusionImg2ImgPipeline": (Family.STABLE_DIFFUSION, _IMAGE_TO_IMAGE),
    "StableDiffusionInpaintPipeline": (Family.STABLE_DIFFUSION, _NOTHING),
    "StableDiffusionXLPipeline": (Family.STABLE_DIFFUSION_XL, _PICTURES),
    "StableDiffusionXLImg2ImgPipeline": (Family.STABLE_DIFFUSION_XL, _IMAGE_TO_IMAGE),
    "StableDiffusionXLInpaintPipeline": (Family.STABLE_DIFFUSION_XL, _NOTHING),
    "StableDiffusion3Pipeline": (Family.STABLE_DIFFUSION_3, _PICTURES),
    "FluxPipeline": (Family.FLUX, _PICTURES),
    "Flux2Pipeline": (Family.FLUX_2, _PICTURES),
    "Flux2KleinPipeline": (Family.FLUX_2, _PICTURES),
    "QwenImagePipeline": (Family.QWEN_IMAGE, _PICTURES),
    "ZImagePipeline": (Family.Z_IMAGE, _PICTURES),
    "PixArtAlphaPipeline": (Family.PIXART, _TEXT_TO_IMAGE),
    "PixArtSigmaPipeline": (Family.PIXART, _TEXT_TO_IMAGE),
    "SanaPipeline": (Family.SANA, _TEXT_TO_IMAGE),
    "WanPipeline": (Family.WAN, _TEXT_TO_VIDEO),
    "WanImageToVideoPipeline": (Family.WAN, _NOTHING),
    "LTXPipeline": (Family.LTX, _TEXT_TO_VIDEO),
    "LTXImageToVideoPipeline": (Family.LTX, _NOTHING),
    "CogVideoXPipeline": (Family.COGVIDEOX, _TEXT_TO_VIDEO),
    "CogVideoXImageToVideoPipeline": (Family.COGVIDEOX, _NOTHING),
    "HunyuanVideoPipeline": (Family.HUNYUAN_VIDEO, _TEXT_TO_VIDEO),
}


def pipeline_class(model_index: Mapping[str, object]) -> str:
    """Return the class that `model_index.json` names under `_class_name`.

    Args:
        model_index: The parsed file. A custom pipeline names module and class; the class is returned.

    Raises:
        ContractError: The file names no class (`model_load_failed`).
    """
    name = model_index.get("_class_name")
    if isinstance(name, list) and name:
        name = cast("list[object]", name)[-1]
    if not isinstance(name, str) or not name:
        detail = f"{MODEL_INDEX} has no `_class_name`, so it does not describe a diffusers pipeline."
        hint = "Use a model in the diffusers folder format."
        raise ContractError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED)
    return name


def capability_of(model_index: Mapping[str, object]) -> Capability:
    """Return what the pipeline of a parsed `model_index.json` can do.

    Raises:
        ContractError: The file names no class (`model_load_failed`).
    """
    name = pipeline_class(model_index)
    family, tasks = _PIPELINES.get(name, (None, _NOTHING))
    return Capability(name, family, tasks)


def require_task(capability: Capability, task: Task, *, model_id: str) -> None:
    """Refuse a task that a listed pipeline class does not have; a class that is not listed passes.

    Raises:
        ContractError: The model cannot do the task (`task_not_supported`); the hint says what it can do.
    """
    if not capability.is_known or task in capability.tasks:
        return
    detail = f"{model_id} is a {capability.pipeline} and cannot do {task}."
    can_do = ", ".join(sorted(capability.tasks))
    hint = f"It can do {can_do}." if can_do else "Choose a model whose pipeline is made for this task."
    raise ContractError(detail, hint=hint, code=ErrorCode.TASK_NOT_SUPPORTED)
