"""A tiny pipeline of every family with random weights. Not imported before a test needs a model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.unit.worker.families.tiny import clips, parts, pictures

_PICTURES = (
    "stable_diffusion",
    "stable_diffusion_2",
    "stable_diffusion_inpaint",
    "stable_diffusion_checked",
    "latent_consistency",
    "stable_diffusion_xl",
    "stable_diffusion_xl_inpaint",
    "stable_diffusion_3",
    "flux",
    "flux_schnell",
    "flux_fill",
    "flux_kontext",
    "flux_2",
    "flux_2_klein",
    "flux_2_klein_base",
    "qwen_image",
    "qwen_image_edit",
    "qwen_image_edit_plus",
    "z_image",
    "pixart_alpha",
    "pixart_sigma",
    "sana",
)
_CLIPS = (
    "wan",
    "wan_image",
    "wan_text_and_image",
    "ltx",
    "cogvideox",
    "cogvideox_image",
    "hunyuan_video",
    "hunyuan_video_image",
    "mochi",
)
BUILDERS: Mapping[str, Callable[[], Any]] = {
    name.replace("_", "-"): getattr(module, name)
    for module, names in ((pictures, _PICTURES), (clips, _CLIPS))
    for name in names
}


def save_lora(name: str, folder: Path) -> None:
    """Save LoRA weights for the model of a name."""
    parts.lora(BUILDERS[name](), folder)


def save_classifier(folder: Path) -> None:
    """Save a classifier of pictures that knows two labels."""
    parts.classifier(folder)
