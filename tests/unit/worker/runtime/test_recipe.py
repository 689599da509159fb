from dataclasses import replace

import pytest

from visgate_worker.runtime.recipe import Cache, Facts, Hardware, Placement, Policy, Recipe, Weights, base_of, ladder

GB = 1_000_000_000
CPU = Hardware("cpu", "cpu")
H100 = Hardware("cuda", "NVIDIA H100", 80 * GB, (9, 0))
A100 = Hardware("cuda", "NVIDIA A100", 80 * GB, (8, 0))
RTX_4090 = Hardware("cuda", "RTX 4090", 24 * GB, (8, 9))
RTX_3060 = Hardware("cuda", "RTX 3060", 12 * GB, (8, 6))
FLUX = Facts(34 * GB, 24 * GB, 24 * GB, has_blocks=True, caches=(Cache.FIRST_BLOCK, Cache.TAYLOR), steps=28)
SDXL = Facts(7 * GB, 5 * GB, 5 * GB, has_blocks=True)


def names(policy: Policy, hardware: Hardware, facts: Facts) -> list[str]:
    return [recipe.name for recipe in ladder(policy, hardware, facts)]


@pytest.mark.parametrize(
    ("policy", "hardware", "facts", "expected"),
    [
        (Policy.AUTO, CPU, FLUX, ["eager"]),
        (Policy.COMPILED, CPU, FLUX, ["compiled", "eager"]),
        (Policy.CACHED, CPU, FLUX, ["cached-first-block", "cached-taylor", "eager"]),
        (Policy.QUANTISED, CPU, FLUX, ["int8", "cast", "eager"]),
        (Policy.AUTO, H100, FLUX, ["compiled", "eager"]),
        (Policy.EAGER, H100, FLUX, ["eager"]),
        (
            Policy.FAST,
            H100,
            FLUX,
            [
                "fp8+compiled+cached-first-block",
                "fp8+compiled+cached-taylor",
                "fp8+compiled",
                "compiled+cached-first-block",
                "compiled+cached-taylor",
                "compiled",
                "cached-first-block",
                "cached-taylor",
                "eager",
            ],
        ),
        (
            Policy.FAST,
            A100,
            FLUX,
            [
                "compiled+cached-first-block",
                "compiled+cached-taylor",
                "compiled",
                "cached-first-block",
                "cached-taylor",
                "eager",
            ],
        ),
        (Policy.FAST, A100, SDXL, ["compiled", "eager"]),
        (Policy.AUTO, A100, replace(SDXL, has_blocks=False), ["eager"]),
        (
            Policy.QUANTISED,
            H100,
            SDXL,
            ["fp8+compiled", "fp8", "int8+compiled", "int8", "cast+compiled", "cast", "eager"],
        ),
        (Policy.OFFLOAD, H100, SDXL, ["offload"]),
        # What does not fit: parts that travel when they can, smaller weights when they could not otherwise stay.
        (Policy.AUTO, RTX_4090, FLUX, ["int8+offload", "cast+offload", "layer-offload"]),
        (Policy.AUTO, RTX_3060, SDXL, ["compiled", "eager"]),
        (Policy.EAGER, RTX_3060, FLUX, ["layer-offload"]),
        (Policy.AUTO, RTX_4090, Facts(30 * GB, 15 * GB, 15 * GB, has_blocks=True), ["offload"]),
        (Policy.FAST, RTX_3060, Facts(15 * GB, 9 * GB, 9 * GB), ["int8+offload", "cast+offload", "offload"]),
    ],
)
def test_the_ladder_follows_policy_gpu_memory_and_model(
    policy: Policy, hardware: Hardware, facts: Facts, expected: list[str]
) -> None:
    found = names(policy, hardware, facts)
    if hardware is RTX_4090 and facts is FLUX:
        expected = ["fp8+offload", *expected]
    assert found == expected


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("hardware", [CPU, H100, A100, RTX_4090, RTX_3060])
@pytest.mark.parametrize("facts", [FLUX, SDXL, replace(FLUX, has_blocks=False, caches=()), replace(FLUX, steps=4)])
def test_every_ladder_ends_with_the_exact_pipeline_and_repeats_nothing(
    policy: Policy, hardware: Hardware, facts: Facts
) -> None:
    found = ladder(policy, hardware, facts)
    assert found[-1] == base_of(policy, hardware, facts)
    assert found[-1].is_exact
    assert not found[-1].compiled
    assert len(set(found)) == len(found)
    if policy is Policy.AUTO and found[-1].placement is not Placement.LAYERS:
        assert all(recipe.is_exact for recipe in found)
    if facts.steps < 9:
        assert not any(recipe.cache for recipe in found)


def test_names_tell_recipes_apart() -> None:
    every = [
        Recipe(weights, placement, compiled, cache)
        for weights in Weights
        for placement in Placement
        for compiled in (False, True)
        for cache in Cache
    ]
    assert len({recipe.name for recipe in every}) == len(every)
    assert Recipe().name == "eager"
