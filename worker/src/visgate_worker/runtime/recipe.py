"""Ways to execute a model, and which of them to try on a machine, best first; pure, imports no framework."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

GPU_SHARE = 0.8
"""Share of a GPU's memory that weights may take; the rest is for what a picture needs beside them."""

MIN_CACHED_STEPS = 9
"""Fewer steps than this have next to nothing in common that a cache could use."""

FP8_CAPABILITY = (8, 9)


class Policy(StrEnum):
    """What the operator wants.

    `auto` takes what gives the same pictures; `fast` also what gives nearly the same. The others name a runtime, which
    is taken where it can be.
    """

    AUTO = "auto"
    FAST = "fast"
    EAGER = "eager"
    COMPILED = "compiled"
    CACHED = "cached"
    QUANTISED = "quantised"
    OFFLOAD = "offload"


CHOOSING = frozenset({Policy.AUTO, Policy.FAST})
"""Policies under which a runtime has to be faster than the eager pipeline; the others are taken at their word."""


class Weights(StrEnum):
    """How the denoiser's weights are kept."""

    FULL = "full"
    FP8 = "fp8"  # multiplied in fp8
    INT8 = "int8"  # kept in int8, multiplied in full
    CAST = "cast"  # kept in fp8, multiplied in full, layer by layer


class Placement(StrEnum):
    """Where the weights are while nothing needs them."""

    DEVICE = "device"
    PARTS = "offload"  # a part of the pipeline moves to the GPU when its turn comes
    LAYERS = "layer-offload"  # a layer does


class Cache(StrEnum):
    """What steps reuse of the ones before."""

    NONE = ""
    FIRST_BLOCK = "first-block"
    TAYLOR = "taylor"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to execute a model.

    Args:
        weights: How the denoiser's weights are kept.
        placement: Where they are.
        compiled: Its repeated blocks are compiled, with the memory format and attention that suit the GPU.
        cache: What its steps reuse.
    """

    weights: Weights = Weights.FULL
    placement: Placement = Placement.DEVICE
    compiled: bool = False
    cache: Cache = Cache.NONE

    @property
    def name(self) -> str:
        """What events call it: `eager`, or what was done, such as `fp8+compiled`."""
        parts = [
            "" if self.weights is Weights.FULL else self.weights.value,
            "compiled" if self.compiled else "",
            f"cached-{self.cache.value}" if self.cache else "",
            "" if self.placement is Placement.DEVICE else self.placement.value,
        ]
        return "+".join(part for part in parts if part) or "eager"

    @property
    def is_exact(self) -> bool:
        """Its pictures are those of the eager pipeline, but for rounding."""
        return self.weights is Weights.FULL and not self.cache

    @property
    def is_for_memory(self) -> bool:
        """It is taken because nothing larger fits, so it need not be faster."""
        return self.placement is not Placement.DEVICE


@dataclass(frozen=True, slots=True)
class Hardware:
    """What runs the model.

    Args:
        device: `cuda` or `cpu`.
        name: Name of the GPU, or `cpu`.
        memory_bytes: The GPU's memory; 0 for the CPU.
        capability: CUDA's compute capability; (0, 0) for the CPU.
    """

    device: str
    name: str
    memory_bytes: int = 0
    capability: tuple[int, int] = (0, 0)

    @property
    def is_gpu(self) -> bool:
        """It is a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides which recipes a model can have.

    Args:
        size_bytes: All weights in the precision that the device computes in.
        denoiser_bytes: Those of the denoiser.
        largest_bytes: Those of the largest part.
        has_blocks: Its denoiser says which of its blocks repeat.
        caches: What its denoiser can keep from step to step.
        steps: What it is run with when nobody says.
    """

    size_bytes: int
    denoiser_bytes: int
    largest_bytes: int
    has_blocks: bool = False
    caches: tuple[Cache, ...] = ()
    steps: int = 30


def fits(weights: Weights, placement: Placement, hardware: Hardware, facts: Facts) -> bool:
    """Tell whether the weights leave enough of the GPU's memory for a picture."""
    if not hardware.is_gpu or placement is Placement.LAYERS:
        return True
    saved = 0 if weights is Weights.FULL else facts.denoiser_bytes // 2
    if placement is Placement.DEVICE:
        return facts.size_bytes - saved <= hardware.memory_bytes * GPU_SHARE
    largest = facts.largest_bytes - (saved if facts.largest_bytes == facts.denoiser_bytes else 0)
    return largest <= hardware.memory_bytes * GPU_SHARE


def base_of(policy: Policy, hardware: Hardware, facts: Facts) -> Recipe:
    """Return the recipe that always works: the eager pipeline, where its weights fit."""
    places = [Placement.PARTS, Placement.LAYERS] if policy is Policy.OFFLOAD else list(Placement)
    if not hardware.is_gpu:
        places = [Placement.DEVICE]
    return Recipe(placement=next(place for place in places if fits(Weights.FULL, place, hardware, facts)))


def ladder(policy: Policy, hardware: Hardware, facts: Facts) -> tuple[Recipe, ...]:
    """Return what to try, best first; the last one is what `base_of` says.

    Args:
        policy: What the operator wants.
        hardware: What runs the model.
        facts: What the model allows.
    """
    base = base_of(policy, hardware, facts)
    rungs = [one for one in _rungs(policy, hardware, facts, base) if fits(one.weights, one.placement, hardware, facts)]
    return (*dict.fromkeys(one for one in rungs if one != base), base)


def _rungs(policy: Policy, hardware: Hardware, facts: Facts, base: Recipe) -> Iterator[Recipe]:
    if base.is_for_memory:
        # Weights that fit are far faster than weights that travel, but they give other pictures.
        travels_at_each_step = policy is Policy.AUTO and base.placement is Placement.LAYERS
        if policy in {Policy.QUANTISED, Policy.FAST} or travels_at_each_step:
            for weights in _small_weights(hardware):
                yield from (Recipe(weights), Recipe(weights, Placement.PARTS))
        return
    can_compile = facts.has_blocks and (hardware.is_gpu or policy is Policy.COMPILED)
    caches = facts.caches if facts.steps >= MIN_CACHED_STEPS else ()
    if policy is Policy.QUANTISED:
        for weights in _small_weights(hardware):
            yield from [Recipe(weights, compiled=True)] * can_compile
            yield Recipe(weights)
    if policy is Policy.FAST and can_compile:
        for weights in [Weights.FP8] * _has_fp8(hardware) + [Weights.FULL]:
            yield from (Recipe(weights, compiled=True, cache=cache) for cache in (*caches, Cache.NONE))
    if policy in {Policy.COMPILED, Policy.AUTO} and can_compile:
        yield Recipe(compiled=True)
    if policy in {Policy.FAST, Policy.CACHED}:
        yield from (Recipe(cache=cache) for cache in caches)


def _has_fp8(hardware: Hardware) -> bool:
    return hardware.is_gpu and hardware.capability >= FP8_CAPABILITY


def _small_weights(hardware: Hardware) -> tuple[Weights, ...]:
    return (Weights.FP8, Weights.INT8, Weights.CAST) if _has_fp8(hardware) else (Weights.INT8, Weights.CAST)
