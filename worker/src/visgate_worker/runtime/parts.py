"""What a recipe does to the parts of a pipeline, and how it is undone."""

import logging
from contextlib import AbstractContextManager
from typing import Any

import diffusers
import torch

from visgate_worker.runtime.facts import DENOISERS
from visgate_worker.runtime.recipe import Cache, Hardware, Recipe, Weights

log = logging.getLogger(__name__)

FIRST_BLOCK_THRESHOLD = 0.08
CUDNN_CAPABILITY = (9, 0)
_MIN_FEATURES = 512  # smaller layers lose more by quantisation than they save


def denoisers(pipeline: Any) -> list[Any]:
    """Return the parts that run at every step: the transformers, or the UNet."""
    found = (getattr(pipeline, name, None) for name in DENOISERS)
    return [part for part in found if isinstance(part, torch.nn.Module)]


def apply(pipeline: Any, recipe: Recipe, hardware: Hardware) -> None:
    """Do what a recipe says of a pipeline that was loaded with its weights.

    Raises:
        Exception: Whatever a library raises that cannot do it.
    """
    if not recipe.compiled:
        return
    for part in denoisers(pipeline):
        if hardware.is_gpu and isinstance(part, diffusers.UNet2DConditionModel):
            part.to(memory_format=torch.channels_last)
        if _takes_cudnn(part, hardware):
            part.set_attention_backend("_native_cudnn")
        part.compile_repeated_blocks(fullgraph=False)


def undo(pipeline: Any, recipe: Recipe, hardware: Hardware) -> None:
    """Bring a pipeline back to what it was before a recipe, but for its weights: those have to be loaded again."""
    set_cache(pipeline, Cache.NONE)
    if not recipe.compiled:
        return
    for part in denoisers(pipeline):
        for module in part.modules():
            module._compiled_call_impl = None  # noqa: SLF001, torch has no other way back
        if _takes_cudnn(part, hardware):
            part.reset_attention_backend()
            part.set_attention_backend("native")  # the process has one, too
    torch.compiler.reset()


def _takes_cudnn(part: Any, hardware: Hardware) -> bool:
    return hardware.capability >= CUDNN_CAPABILITY and hasattr(part, "set_attention_backend")


def set_cache(pipeline: Any, cache: Cache) -> None:
    """Switch what steps reuse on, or off; nothing of an earlier picture stays."""
    for part in denoisers(pipeline):
        if not hasattr(part, "enable_cache"):
            continue
        if part.is_cache_enabled:
            part.disable_cache()
        if cache is Cache.FIRST_BLOCK:
            part.enable_cache(diffusers.FirstBlockCacheConfig(threshold=FIRST_BLOCK_THRESHOLD))
        elif cache is Cache.TAYLOR:
            part.enable_cache(
                diffusers.TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=3, max_order=1)
            )


def quantise(part: Any, weights: Weights, *, device: str) -> None:
    """Keep a part's large matrices in eight bits.

    Args:
        part: A denoiser.
        weights: How.
        device: Where its layers go, one by one, so that the part need not fit there in full.
    """
    if weights is Weights.CAST:
        part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=part.dtype)
        return
    # Slow to import, and loud.
    from torchao import quantization  # noqa: PLC0415

    if weights is Weights.FP8:
        config = quantization.Float8DynamicActivationFloat8WeightConfig(granularity=quantization.PerRow())
    else:
        config = quantization.Int8WeightOnlyConfig()
    quantization.quantize_(part, config, filter_fn=_is_large, device=device)


def _is_large(module: Any, _name: str) -> bool:
    is_linear = isinstance(module, torch.nn.Linear)
    return is_linear and min(module.in_features, module.out_features) >= _MIN_FEATURES


def uncompiled() -> AbstractContextManager[object]:
    """Run compiled blocks as they were written: weights laid over them would have to be compiled for each job."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
