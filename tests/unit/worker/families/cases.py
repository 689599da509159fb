"""Every tiny model, and what is known of the real ones: the tests go through all of them, task by task."""

from dataclasses import dataclass

from visgate_contract.families import Family
from visgate_contract.tasks import Task
from visgate_worker.runtime.recipe import Cache, Placement, Recipe, Weights

PICTURES = (Task.TEXT2IMG, Task.IMAGE2IMG, Task.INPAINT)
CLIPS = (Task.TEXT2VIDEO, Task.IMAGE2VIDEO)
_TEXT, _IMAGE = (Task.TEXT2IMG,), (Task.IMAGE2IMG,)
_INPAINT, _TO_CLIP, _IMAGE_TO_CLIP = (Task.INPAINT,), (Task.TEXT2VIDEO,), (Task.IMAGE2VIDEO,)


@dataclass(frozen=True)
class Case:
    """A tiny model.

    Args:
        model: Name of its builder.
        family: None for a class that is not listed.
        tasks: What it can do.
        multiple: Of which sides are multiples.
        refuses: Fields that it does not take.
        steps: Denoising steps when none are asked for.
        frames: Frames of a clip of 9.
    """

    model: str
    family: Family | None
    tasks: tuple[Task, ...]
    multiple: int
    refuses: frozenset[str] = frozenset()
    steps: int = 50
    frames: int = 9


_GUIDANCE, _NEGATIVE = frozenset({"guidance_scale"}), frozenset({"negative_prompt"})

CASES = (
    Case("stable-diffusion", Family.STABLE_DIFFUSION, PICTURES, 8),
    Case("stable-diffusion-2", Family.STABLE_DIFFUSION, PICTURES, 8),
    Case("stable-diffusion-checked", Family.STABLE_DIFFUSION, PICTURES, 8),
    Case("stable-diffusion-inpaint", Family.STABLE_DIFFUSION, _INPAINT, 8),
    Case("stable-diffusion-xl", Family.STABLE_DIFFUSION_XL, PICTURES, 8),
    Case("stable-diffusion-xl-inpaint", Family.STABLE_DIFFUSION_XL, _INPAINT, 8),
    Case("stable-diffusion-3", Family.STABLE_DIFFUSION_3, PICTURES, 16, steps=28),
    Case("flux", Family.FLUX, PICTURES, 16, steps=28),
    Case("flux-schnell", Family.FLUX, PICTURES, 16, _GUIDANCE, steps=4),
    Case("flux-fill", Family.FLUX, _INPAINT, 16, _NEGATIVE),
    Case("flux-kontext", Family.FLUX, PICTURES, 16, steps=28),
    Case("flux-2", Family.FLUX_2, (*_TEXT, *_IMAGE), 16, _NEGATIVE),
    Case("flux-2-klein", Family.FLUX_2, PICTURES, 16, _GUIDANCE | _NEGATIVE, steps=4),
    Case("flux-2-klein-base", Family.FLUX_2, PICTURES, 16, _NEGATIVE),
    Case("qwen-image", Family.QWEN_IMAGE, PICTURES, 16),
    Case("qwen-image-edit", Family.QWEN_IMAGE, (*_IMAGE, *_INPAINT), 16),
    Case("qwen-image-edit-plus", Family.QWEN_IMAGE, _IMAGE, 16),
    Case("z-image", Family.Z_IMAGE, PICTURES, 16),
    Case("pixart-alpha", Family.PIXART, _TEXT, 8, steps=20),
    Case("pixart-sigma", Family.PIXART, _TEXT, 8, steps=20),
    Case("sana", Family.SANA, _TEXT, 32, steps=20),
    Case("latent-consistency", None, (*_TEXT, *_IMAGE), 8, _NEGATIVE, steps=4),
    Case("wan", Family.WAN, _TO_CLIP, 16),
    Case("wan-image", Family.WAN, _IMAGE_TO_CLIP, 16),
    Case("wan-text-and-image", Family.WAN, CLIPS, 32),
    Case("ltx", Family.LTX, CLIPS, 32),
    Case("cogvideox", Family.COGVIDEOX, _TO_CLIP, 16),
    Case("cogvideox-image", Family.COGVIDEOX, _IMAGE_TO_CLIP, 16),
    Case("hunyuan-video", Family.HUNYUAN_VIDEO, _TO_CLIP, 16),
    Case("hunyuan-video-image", Family.HUNYUAN_VIDEO, _IMAGE_TO_CLIP, 16, _GUIDANCE),
    Case("mochi", None, _TO_CLIP, 8, steps=64, frames=7),
)
BY_MODEL = {case.model: case for case in CASES}
EVERYTHING = tuple((case.model, task) for case in CASES for task in case.tasks)

# One model of each family, whose other models are built of the same parts.
FIRST_OF = {
    case.family: case.model
    for case in reversed(CASES)
    if case.family and case.tasks[0] in {Task.TEXT2IMG, Task.TEXT2VIDEO}
}

# Runtimes, and the families whose tiny pipelines draw with them what they draw without, nearly.
RUNTIMES = {
    Recipe(cache=Cache.FIRST_BLOCK): frozenset(Family) - {Family.FLUX_2},
    Recipe(Weights.INT8): frozenset(Family),
    Recipe(Weights.CAST): frozenset(Family),
    Recipe(placement=Placement.LAYERS): frozenset(Family),
}
