"""The model families, and what their pipelines want: the one table that gateway and worker share.

Sides are multiples of the autoencoder's factor and the transformer's patch of the published models. Several pipelines
round other sizes without a word, so these are refused instead. Bounds are what a family's models were published for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from visgate_contract.tasks import MAX_FRAMES, MAX_SIDE, Scheduler

FEW_STEPS = 4  # what the models that were distilled to few steps are published with


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


# Models that predict noise take every solver of the diffusion equation. Those that predict a flow take the solvers
# that know flows; pipelines that hand their own list of noise levels over take only those that accept one.
NOISE_SCHEDULERS = frozenset(Scheduler)
FLOW_SCHEDULERS = frozenset(
    {Scheduler.EULER, Scheduler.HEUN, Scheduler.DPMPP_2M, Scheduler.UNIPC, Scheduler.DEIS, Scheduler.LCM}
)
FLOW_SCHEDULERS_FROM_PICTURES = frozenset({Scheduler.EULER, Scheduler.HEUN, Scheduler.LCM})  # they can noise a picture
FLOW_SCHEDULERS_OF_SIGMAS = frozenset({Scheduler.EULER, Scheduler.UNIPC, Scheduler.LCM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How the pipelines of a family want to be called.

    Args:
        multiple: Width and height are multiples of this many pixels.
        max_pixels: Width times height is at most this.
        sides: Width and height of models that know only one size; None for all others.
        chooses_size: The pipeline draws at a size of its own, whatever is asked for.
        edited_pixels: Pixels that editors of pictures draw when the caller names no size, in the picture's shape.
        steps: Denoising steps when the caller names none; the pipeline's own default when left out.
        begins_fractions: Where strength leaves out a part of a step, the step is done.
        guidance: Argument that takes `guidance_scale`; None for models that are not guided.
        no_negative: Negative prompt when the caller gives none; left out when None.
        with_negative: Further arguments without which a negative prompt would be ignored.
        fixed: Arguments of every call of a class that takes them.
        schedulers: Which can be asked for by name.
        frame_step: The number of frames is a multiple of this, plus one.
        dropped_frames: How many of the frames that it is called with the pipeline leaves out of the clip.
        max_frames: The number of frames is at most this.
        fps: Frames a second that the model was trained with.
    """

    multiple: int = 8
    max_pixels: int = MAX_SIDE * MAX_SIDE
    sides: tuple[int, int] | None = None
    chooses_size: bool = False
    edited_pixels: int | None = None
    steps: int | None = None
    begins_fractions: bool = False
    guidance: str | None = "guidance_scale"
    no_negative: str | None = None
    with_negative: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schedulers: frozenset[Scheduler] = frozenset()
    frame_step: int = 1
    dropped_frames: int = 0
    max_frames: int = MAX_FRAMES
    fps: int = 24


GENERIC = Traits()
FAMILIES: Mapping[Family, Traits] = {
    Family.STABLE_DIFFUSION: Traits(max_pixels=1024 * 1536, schedulers=NOISE_SCHEDULERS),
    Family.STABLE_DIFFUSION_XL: Traits(schedulers=NOISE_SCHEDULERS),
    Family.STABLE_DIFFUSION_3: Traits(multiple=16, begins_fractions=True, schedulers=FLOW_SCHEDULERS),
    # Guidance is an input of the model; a negative prompt needs the second pass that true guidance costs.
    Family.FLUX: Traits(
        multiple=16,
        max_pixels=2 * 1024 * 1024,
        begins_fractions=True,
        with_negative={"true_cfg_scale": 3.5},
        fixed={"_auto_resize": False},  # to sizes of its own, whatever was asked for
        schedulers=FLOW_SCHEDULERS_OF_SIGMAS,
    ),
    Family.FLUX_2: Traits(multiple=16, begins_fractions=True, schedulers=FLOW_SCHEDULERS_OF_SIGMAS),
    # Guided only beside a negative prompt, for which its authors use a space.
    Family.QWEN_IMAGE: Traits(
        multiple=16,
        begins_fractions=True,
        guidance="true_cfg_scale",
        no_negative=" ",
        schedulers=FLOW_SCHEDULERS_OF_SIGMAS,
    ),
    Family.Z_IMAGE: Traits(multiple=16, begins_fractions=True, schedulers=frozenset({Scheduler.EULER, Scheduler.LCM})),
    # Cleaning captions needs a library for HTML and changes what the caller wrote.
    Family.PIXART: Traits(fixed={"clean_caption": False}, schedulers=NOISE_SCHEDULERS),
    Family.SANA: Traits(multiple=32, fixed={"clean_caption": False}, schedulers=FLOW_SCHEDULERS),
    Family.WAN: Traits(
        multiple=16, max_pixels=1280 * 720, frame_step=4, max_frames=121, fps=16, schedulers=FLOW_SCHEDULERS
    ),
    Family.LTX: Traits(multiple=32, max_pixels=1280 * 768, frame_step=8, fps=25, schedulers=FLOW_SCHEDULERS_OF_SIGMAS),
    # Its autoencoder takes frames by fours but decodes pairs of them, so only every second number comes out whole.
    Family.COGVIDEOX: Traits(multiple=16, max_pixels=1360 * 768, frame_step=8, max_frames=161, fps=8),
    Family.HUNYUAN_VIDEO: Traits(
        multiple=16,
        max_pixels=1280 * 720,
        frame_step=4,
        max_frames=129,
        fps=24,
        with_negative={"true_cfg_scale": 6.0},
        schedulers=FLOW_SCHEDULERS_OF_SIGMAS,
    ),
}


def traits_of(family: Family | None) -> Traits:
    """Return how a family's pipelines are called; None is a class that is not listed."""
    return GENERIC if family is None else FAMILIES[family]
