"""What the listed families differ in, as tables; the adapters hold no other knowledge of a family.

Sides are multiples of the autoencoder's factor and the transformer's patch of the published models. Several pipelines
round other sizes without a word, so these are refused instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from visgate_contract.capabilities import Family
from visgate_contract.tasks import Task

FEW_STEPS = 4  # what the models that were distilled to few steps are published with


@dataclass(frozen=True, slots=True)
class Traits:
    """How the pipelines of a family want to be called.

    Args:
        multiple: Width and height are multiples of this many pixels.
        steps: Denoising steps when the caller names none; the pipeline's own default when left out.
        guidance: Argument that takes `guidance_scale`; None for models that are not guided.
        no_negative: Negative prompt when the caller gives none; left out when None.
        with_negative: Further arguments without which a negative prompt would be ignored.
        fixed: Arguments of every call.
    """

    multiple: int = 8
    steps: int | None = None
    guidance: str | None = "guidance_scale"
    no_negative: str | None = None
    with_negative: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoTraits(Traits):
    """How the video pipelines of a family want to be called.

    Args:
        frame_step: The number of frames is a multiple of this, plus one.
        fps: Frames a second that the model was trained with.
    """

    frame_step: int = 1
    fps: int = 24


_GENERIC = Traits()
_IMAGE: Mapping[Family, Traits] = {
    Family.STABLE_DIFFUSION: Traits(),
    Family.STABLE_DIFFUSION_XL: Traits(),
    Family.STABLE_DIFFUSION_3: Traits(multiple=16),
    # Guidance is an input of the model; a negative prompt needs the second pass that true guidance costs.
    Family.FLUX: Traits(multiple=16, with_negative={"true_cfg_scale": 3.5}),
    Family.FLUX_2: Traits(multiple=16),
    # Guided only beside a negative prompt, for which its authors use a space.
    Family.QWEN_IMAGE: Traits(multiple=16, guidance="true_cfg_scale", no_negative=" "),
    Family.Z_IMAGE: Traits(multiple=16),
    # Cleaning captions needs a library for HTML and changes what the caller wrote.
    Family.PIXART: Traits(multiple=8, fixed={"clean_caption": False}),
    Family.SANA: Traits(multiple=32, fixed={"clean_caption": False}),
}

_GENERIC_VIDEO = VideoTraits()
_VIDEO: Mapping[Family, VideoTraits] = {
    Family.WAN: VideoTraits(multiple=16, frame_step=4, fps=16),
    Family.LTX: VideoTraits(multiple=32, frame_step=8, fps=25),
    # Its autoencoder takes frames by fours but decodes pairs of them, so only every second number comes out whole.
    Family.COGVIDEOX: VideoTraits(multiple=16, frame_step=8, fps=8),
    Family.HUNYUAN_VIDEO: VideoTraits(multiple=16, frame_step=4, fps=24, with_negative={"true_cfg_scale": 6.0}),
}

# Classes that begin from a picture and are made of the parts of the class on the left. Others do so themselves.
_FROM_IMAGE: Mapping[str, str] = {
    "StableDiffusionPipeline": "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusion3Pipeline": "StableDiffusion3Img2ImgPipeline",
    "FluxPipeline": "FluxImg2ImgPipeline",
    "QwenImagePipeline": "QwenImageImg2ImgPipeline",
    "ZImagePipeline": "ZImageImg2ImgPipeline",
}


def pipeline_for(task: Task, pipeline: str) -> str:
    """Return the class that does a task with the parts of a loaded pipeline.

    Args:
        task: What is asked for.
        pipeline: Class of the loaded pipeline.
    """
    return _FROM_IMAGE.get(pipeline, pipeline) if task is Task.IMAGE2IMG else pipeline


def image_traits(family: Family | None, *, is_step_distilled: bool = False) -> Traits:
    """Return how a family's picture pipelines are called.

    Args:
        family: None for a class that is not listed.
        is_step_distilled: What `is_step_distilled` said of the model.
    """
    traits = _GENERIC if family is None else _IMAGE.get(family, _GENERIC)
    return replace(traits, steps=FEW_STEPS, guidance=None) if is_step_distilled else traits


def video_traits(family: Family | None) -> VideoTraits:
    """Return how a family's video pipelines are called; None is a class that is not listed."""
    return _GENERIC_VIDEO if family is None else _VIDEO.get(family, _GENERIC_VIDEO)


def is_step_distilled(
    family: Family | None, model_index: Mapping[str, object], transformer: Mapping[str, object]
) -> bool:
    """Tell whether a model was distilled to few steps without guidance, as FLUX.1 schnell and FLUX.2 klein were.

    Args:
        family: Its family.
        model_index: Its `model_index.json`.
        transformer: Its transformer's `config.json`; empty where there is none.
    """
    if family is Family.FLUX:
        return transformer.get("guidance_embeds") is False
    return family is Family.FLUX_2 and model_index.get("is_distilled") is True
