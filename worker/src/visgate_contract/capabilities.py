"""What a model can do, read from its `model_index.json` and its parts' configurations, never from its name.

The class of a pipeline decides its family, and the family the tasks and the bounds of their inputs. A class that is not
listed here, but that diffusers has, can do what its signature says. What cannot work is refused with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.families import FEW_STEPS, Family, Traits, traits_of
from visgate_contract.pipelines import Signature, catalogue, signature_of
from visgate_contract.tasks import Task

MODEL_INDEX = "model_index.json"
CONFIGURED_PARTS = ("transformer", "unet", "vae")
"""Parts whose `config.json` says more; whoever asks passes those of them that the index names."""

_T2I, _I2I, _INPAINT = Task.TEXT2IMG, Task.IMAGE2IMG, Task.INPAINT
_T2V, _I2V = Task.TEXT2VIDEO, Task.IMAGE2VIDEO
_Routes = Mapping[Task, str]

# Class → family, and the class that does each task with the same parts.
_STABLE_DIFFUSION: _Routes = {
    _T2I: "StableDiffusionPipeline",
    _I2I: "StableDiffusionImg2ImgPipeline",
    _INPAINT: "StableDiffusionInpaintPipeline",
}
_STABLE_DIFFUSION_XL: _Routes = {
    _T2I: "StableDiffusionXLPipeline",
    _I2I: "StableDiffusionXLImg2ImgPipeline",
    _INPAINT: "StableDiffusionXLInpaintPipeline",
}
_STABLE_DIFFUSION_3: _Routes = {
    _T2I: "StableDiffusion3Pipeline",
    _I2I: "StableDiffusion3Img2ImgPipeline",
    _INPAINT: "StableDiffusion3InpaintPipeline",
}
_FLUX: _Routes = {_T2I: "FluxPipeline", _I2I: "FluxImg2ImgPipeline", _INPAINT: "FluxInpaintPipeline"}
_KONTEXT: _Routes = {_T2I: "FluxKontextPipeline", _I2I: "FluxKontextPipeline", _INPAINT: "FluxKontextInpaintPipeline"}
_KLEIN: _Routes = {_T2I: "Flux2KleinPipeline", _I2I: "Flux2KleinPipeline", _INPAINT: "Flux2KleinInpaintPipeline"}
_QWEN: _Routes = {_T2I: "QwenImagePipeline", _I2I: "QwenImageImg2ImgPipeline", _INPAINT: "QwenImageInpaintPipeline"}
_QWEN_EDIT: _Routes = {_I2I: "QwenImageEditPipeline", _INPAINT: "QwenImageEditInpaintPipeline"}
_Z_IMAGE: _Routes = {_T2I: "ZImagePipeline", _I2I: "ZImageImg2ImgPipeline", _INPAINT: "ZImageInpaintPipeline"}
_WAN: _Routes = {_T2V: "WanPipeline", _I2V: "WanImageToVideoPipeline"}
_LTX: _Routes = {_T2V: "LTXPipeline", _I2V: "LTXImageToVideoPipeline"}

LISTED: Mapping[str, tuple[Family, _Routes]] = {
    **dict.fromkeys(_STABLE_DIFFUSION.values(), (Family.STABLE_DIFFUSION, _STABLE_DIFFUSION)),
    **dict.fromkeys(_STABLE_DIFFUSION_XL.values(), (Family.STABLE_DIFFUSION_XL, _STABLE_DIFFUSION_XL)),
    **dict.fromkeys(_STABLE_DIFFUSION_3.values(), (Family.STABLE_DIFFUSION_3, _STABLE_DIFFUSION_3)),
    **dict.fromkeys(_FLUX.values(), (Family.FLUX, _FLUX)),
    **dict.fromkeys(_KONTEXT.values(), (Family.FLUX, _KONTEXT)),
    "FluxFillPipeline": (Family.FLUX, {_INPAINT: "FluxFillPipeline"}),
    "Flux2Pipeline": (Family.FLUX_2, {_T2I: "Flux2Pipeline", _I2I: "Flux2Pipeline"}),
    **dict.fromkeys(_KLEIN.values(), (Family.FLUX_2, _KLEIN)),
    **dict.fromkeys(_QWEN.values(), (Family.QWEN_IMAGE, _QWEN)),
    **dict.fromkeys(_QWEN_EDIT.values(), (Family.QWEN_IMAGE, _QWEN_EDIT)),
    "QwenImageEditPlusPipeline": (Family.QWEN_IMAGE, {_I2I: "QwenImageEditPlusPipeline"}),
    **dict.fromkeys(_Z_IMAGE.values(), (Family.Z_IMAGE, _Z_IMAGE)),
    "PixArtAlphaPipeline": (Family.PIXART, {_T2I: "PixArtAlphaPipeline"}),
    "PixArtSigmaPipeline": (Family.PIXART, {_T2I: "PixArtSigmaPipeline"}),
    "SanaPipeline": (Family.SANA, {_T2I: "SanaPipeline"}),
    **dict.fromkeys(_WAN.values(), (Family.WAN, _WAN)),
    **dict.fromkeys(_LTX.values(), (Family.LTX, _LTX)),
    "CogVideoXPipeline": (Family.COGVIDEOX, {_T2V: "CogVideoXPipeline"}),
    "CogVideoXImageToVideoPipeline": (Family.COGVIDEOX, {_I2V: "CogVideoXImageToVideoPipeline"}),
    "HunyuanVideoPipeline": (Family.HUNYUAN_VIDEO, {_T2V: "HunyuanVideoPipeline"}),
    "HunyuanVideoImageToVideoPipeline": (Family.HUNYUAN_VIDEO, {_I2V: "HunyuanVideoImageToVideoPipeline"}),
}

# They go by what the prompt says of a picture, and draw best at the size that they were trained with.
_EDITORS = frozenset({*_KONTEXT.values(), *_QWEN_EDIT.values(), "QwenImageEditPlusPipeline"})
_EDITED_PIXELS = 1024 * 1024
_CHOOSE_SIZE = frozenset({"QwenImageEditInpaintPipeline"})

_NO_PICTURES: Mapping[str, str] = {
    "WuerstchenPriorPipeline": "it makes what another pipeline draws from",
    "HunyuanImageRefinerPipeline": "it only refines what another pipeline has drawn",
}
_PICTURE_CHANNELS, _INPAINT_CHANNELS = 4, 9  # of the UNet: those of a latent; with mask and masked picture beside it
_FEW_STEP_SCHEDULERS = frozenset({"LCMScheduler", "TCDScheduler"})


@dataclass(frozen=True, slots=True)
class Route:
    """How a model does one task.

    Args:
        task: Task.
        pipeline: Class that is called, made of the model's parts.
        signature: What calling it takes.
        traits: Bounds, and how it wants to be called.
    """

    task: Task
    pipeline: str
    signature: Signature
    traits: Traits


@dataclass(frozen=True, slots=True)
class Capability:
    """What a model is for.

    Args:
        pipeline: Class name in `model_index.json`.
        family: Family of the class; None for a class that is not listed.
        routes: How it does each of its tasks.
        problem: Why it does none, for a model that does none.
    """

    pipeline: str
    family: Family | None = None
    routes: Mapping[Task, Route] = field(default_factory=dict[Task, Route])
    problem: str = ""

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can be asked for."""
        return frozenset(self.routes)

    def route(self, task: Task, *, model_id: str) -> Route:
        """Return how a task is done.

        Raises:
            ContractError: The model cannot do it (`task_not_supported`); says why, or what it can do.
        """
        if task in self.routes:
            return self.routes[task]
        because = f": {self.problem}" if self.problem else ""
        detail = f"{model_id} is a {self.pipeline} and cannot do {task}{because}."
        can_do = ", ".join(sorted(self.tasks))
        hint = f"It can do {can_do}." if can_do else "Choose a model whose pipeline is made for this task."
        raise ContractError(detail, hint=hint, code=ErrorCode.TASK_NOT_SUPPORTED)


def pipeline_class(model_index: Mapping[str, object]) -> str:
    """Return the class that `model_index.json` names under `_class_name`.

    Args:
        model_index: The parsed file. A pipeline with code of its own names module and class; the class is returned.

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


def capability_of(
    model_index: Mapping[str, object], configs: Mapping[str, Mapping[str, object]] | None = None
) -> Capability:
    """Return what a model can do.

    Args:
        model_index: Its parsed `model_index.json`.
        configs: Parsed `config.json` of its parts by name, as far as they are known; `CONFIGURED_PARTS` are read.

    Raises:
        ContractError: The index names no class (`model_load_failed`).
    """
    pipeline = pipeline_class(model_index)
    if problem := _foreign(model_index, pipeline):
        return Capability(pipeline, problem=problem)
    listed = LISTED.get(pipeline)
    if listed is None:
        return _unlisted(pipeline)
    family, routes = listed
    parts = _Parts(model_index, configs or {})
    traits = _traits(family, parts)
    allowed = _allowed(family, pipeline, parts)
    found = {task: name for task, name in routes.items() if task in allowed}
    return Capability(pipeline, family, {task: _route(task, name, traits) for task, name in found.items()})


def _foreign(model_index: Mapping[str, object], pipeline: str) -> str:
    """Return why a model cannot be loaded: code of its own, or classes that the workers' diffusers does not have."""
    own_code = "it brings code of its own, which workers do not run"
    if not isinstance(model_index.get("_class_name"), str):
        return own_code
    if signature_of(pipeline) is None:
        return f"diffusers {catalogue().diffusers}, which workers have, knows no such pipeline"
    for value in model_index.values():
        library = cast("list[object]", value)[0] if isinstance(value, list) and value else None
        if isinstance(library, str) and library.rpartition(".")[2] not in catalogue().parts:
            return own_code
    return ""


def _unlisted(pipeline: str) -> Capability:
    signature = signature_of(pipeline)
    if signature is None or pipeline in _NO_PICTURES:
        return Capability(pipeline, problem=_NO_PICTURES.get(pipeline, ""))
    routes = {
        task: _route(task, name, traits_of(None))
        for task, name in (*((task, pipeline) for task in Task), *signature.siblings.items())
        if (found := signature_of(name)) is not None and found.does(task)
    }
    return Capability(pipeline, routes=routes, problem="" if routes else signature.problem)


def _route(task: Task, pipeline: str, traits: Traits) -> Route:
    signature = signature_of(pipeline)
    if signature is None:
        detail = f"{pipeline} is listed, but diffusers {catalogue().diffusers} does not have it."
        raise ContractError(detail, code=ErrorCode.INTERNAL)
    if pipeline in _EDITORS:
        traits = replace(traits, edited_pixels=_EDITED_PIXELS, chooses_size=pipeline in _CHOOSE_SIZE)
    return Route(task, pipeline, signature, traits)


@dataclass(frozen=True, slots=True)
class _Parts:
    index: Mapping[str, object]
    configs: Mapping[str, Mapping[str, object]]

    def of(self, part: str, name: str, default: Any = None) -> Any:
        return self.configs.get(part, {}).get(name, default)


def _allowed(family: Family, pipeline: str, parts: _Parts) -> frozenset[Task]:
    """Return the tasks that a model's parts allow of those that its class knows."""
    everything = frozenset(Task)
    if family in {Family.STABLE_DIFFUSION, Family.STABLE_DIFFUSION_XL}:
        unknown = _INPAINT_CHANNELS if "Inpaint" in pipeline else _PICTURE_CHANNELS
        channels = parts.of("unet", "in_channels", unknown)
        if channels == _INPAINT_CHANNELS:
            return frozenset({_INPAINT})
        # A model that only refines was trained on late steps alone.
        refines = parts.index.get("requires_aesthetics_score") is True
        return frozenset({_I2I}) if refines else everything if channels == _PICTURE_CHANNELS else frozenset()
    if family is Family.WAN and parts.index.get("expand_timesteps") is not True:
        return frozenset({_I2V if pipeline == _WAN[_I2V] else _T2V})
    return everything


def _traits(family: Family, parts: _Parts) -> Traits:
    """Return the family's traits, adjusted to what the parts' configurations say of a model."""
    traits = traits_of(family)
    if _is_step_distilled(family, parts):
        return replace(traits, steps=FEW_STEPS, guidance=None)
    scheduler = parts.index.get("scheduler")
    if isinstance(scheduler, list) and cast("list[object]", scheduler)[-1] in _FEW_STEP_SCHEDULERS:
        return replace(traits, steps=FEW_STEPS)
    if family is Family.WAN:
        patch = parts.of("transformer", "patch_size", (1, 2, 2))
        return replace(traits, multiple=int(parts.of("vae", "scale_factor_spatial", 8)) * int(patch[1]))
    if family is Family.COGVIDEOX:
        return _cogvideox(traits, parts)
    if family is Family.HUNYUAN_VIDEO:
        return _hunyuan_video(traits, parts)
    return traits


def _is_step_distilled(family: Family, parts: _Parts) -> bool:
    """Tell whether a model was distilled to few steps without guidance, as FLUX.1 schnell and FLUX.2 klein were."""
    if family is Family.FLUX:
        return parts.of("transformer", "guidance_embeds") is False
    return family is Family.FLUX_2 and parts.index.get("is_distilled") is True


def _cogvideox(traits: Traits, parts: _Parts) -> Traits:
    """CogVideoX 1.5 also pairs frames in time and plays faster; models with learned positions know one size only."""
    is_newer = bool(parts.of("transformer", "patch_size_t"))
    traits = replace(traits, fps=16) if is_newer else replace(traits, max_frames=49)
    if parts.of("transformer", "use_learned_positional_embeddings") is True:
        width, height = parts.of("transformer", "sample_width", 0), parts.of("transformer", "sample_height", 0)
        traits = replace(traits, sides=(int(width) * 8, int(height) * 8))
    return traits


def _hunyuan_video(traits: Traits, parts: _Parts) -> Traits:
    """Some models that begin from a picture put it before the clip and cut it off again, and are not guided."""
    if parts.of("transformer", "guidance_embeds") is False:
        traits = replace(traits, guidance=None)
    if parts.of("transformer", "image_condition_type") == "latent_concat":
        traits = replace(traits, dropped_frames=4, max_frames=traits.max_frames - 4)
    return traits
