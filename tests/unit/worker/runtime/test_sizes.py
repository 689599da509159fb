import pytest

from visgate_contract.errors import ErrorCode
from visgate_worker.adapters.base import Generation
from visgate_worker.runtime.recipe import Hardware
from visgate_worker.runtime.sizes import Sizes

GB = 1_000_000_000
GPU = Hardware("cuda", "NVIDIA L4", 24 * GB, (8, 9))


def picture(side: int, **more: object) -> list[Generation]:
    return [Generation({"prompt": "a fox", "width": side, "height": side} | more, 1, 4)]


def test_without_experience_half_the_pixels_are_suggested() -> None:
    error = Sizes(GPU, 16).too_large(picture(2048), held_bytes=12 * GB)
    assert error.code is ErrorCode.OUT_OF_MEMORY
    assert error.detail == "2048 x 2048 does not fit into NVIDIA L4's 24 GB beside the model's 12.0 GB."
    assert error.hint == "Try 1440 x 1440, or use a larger GPU."


def test_pictures_that_were_drawn_tell_what_fits() -> None:
    sizes = Sizes(GPU, 16)
    sizes.note(picture(512), peak_bytes=14 * GB, held_bytes=12 * GB)  # 2 GB for a quarter of a megapixel
    error = sizes.too_large(picture(2048), held_bytes=12 * GB)
    assert error.hint == "By what others took, 1184 x 1184 would fit, or use a larger GPU."
    side = 1184
    assert 2 * GB * (side / 512) ** 2 < 24 * GB * 0.95 - 12 * GB < 2 * GB * ((side + 16) / 512) ** 2


def test_frames_count_and_are_kept() -> None:
    error = Sizes(GPU, 16).too_large(picture(720, num_frames=81), held_bytes=0)
    assert error.detail.startswith("720 x 720 with 81 frames does not fit into")
    assert "496 x 496 with 81 frames" in error.hint


@pytest.mark.parametrize("hardware", [GPU, Hardware("cpu", "cpu")])
def test_a_call_that_names_no_size_gets_an_answer_all_the_same(hardware: Hardware) -> None:
    error = Sizes(hardware, 8).too_large([Generation({"prompt": "x"}, 1, 4)], held_bytes=0)
    assert error.detail.startswith("This picture does not fit into")
    assert "smaller" in error.hint
