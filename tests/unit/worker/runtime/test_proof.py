import math

import numpy as np
import pytest
from PIL import Image

from visgate_worker.runtime.base import Clip
from visgate_worker.runtime.proof import EXACT_DB, NEAR_DB, flaw_of, floor_db, psnr_db
from visgate_worker.runtime.recipe import Cache, Recipe, Weights


def picture(values: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Image.Image:
    return Image.fromarray(values)


def noise(seed: int = 0, side: int = 16) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_the_measure_is_the_peak_signal_to_noise_ratio() -> None:
    one = noise() // 2
    assert psnr_db(picture(one), picture(one)) == 100
    off_by_ten = psnr_db(picture(one), picture(one + np.uint8(10)))
    assert off_by_ten == pytest.approx(-20 * math.log10(10 / 255), abs=1e-4)
    assert psnr_db(picture(one), picture(noise(side=8))) == 0
    clip = np.zeros((3, 4, 4, 3))
    assert psnr_db(Clip(clip, 8), Clip(clip + 0.1, 8)) == pytest.approx(20)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_no_numbers_and_single_colours_are_flaws(broken: float) -> None:
    frames = np.random.default_rng(0).random((2, 4, 4, 3))
    assert flaw_of([Clip(frames, 8), picture(noise())]) is None
    frames[0, 0, 0, 0] = broken
    assert flaw_of([picture(noise()), Clip(frames, 8)]) == "it drew values that are no numbers"
    assert flaw_of([Image.new("RGB", (8, 8))]) == "it drew a picture of one colour"


def test_what_only_rounds_is_held_to_more_than_what_approximates() -> None:
    assert floor_db(Recipe(compiled=True)) == EXACT_DB > NEAR_DB
    assert floor_db(Recipe(cache=Cache.TAYLOR)) == floor_db(Recipe(Weights.INT8)) == NEAR_DB
