from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.capabilities import Capability, capability_of
from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.tasks import Text2ImgInput
from visgate_worker.adapters.image import TextToImage


class Drawing:
    """The signature of a text-to-image pipeline."""

    def __call__(
        self,
        prompt: str,
        height: int | None = None,
        width: int | None = None,
        *,
        num_inference_steps: int = 28,
        guidance_scale: float = 3.5,
        generator: Any = None,
    ) -> None:
        """Draw."""


class DrawingOnPictures(Drawing):
    def __call__(self, prompt: str, image: Any, **more: Any) -> None:  # type: ignore[override]
        """Draw on a picture."""


class Filming(Drawing):
    def __call__(  # type: ignore[override]
        self, prompt: str, height: int, width: int, *, num_inference_steps: int, num_frames: int, generator: Any
    ) -> None:
        """Film."""


def adapter(pipeline: type = Drawing, name: str = "BrandNewPipeline") -> TextToImage:
    return TextToImage.for_pipeline(pipeline, Capability(name), model_id="org/new")


def test_a_new_class_that_draws_from_text_is_taken_by_its_signature() -> None:
    (call,) = adapter().plan(Text2ImgInput(prompt="a fox"), seed=1)
    assert call.arguments == {"prompt": "a fox", "num_inference_steps": 28}
    assert call.steps == 28


@pytest.mark.parametrize("pipeline", [DrawingOnPictures, Filming])
def test_a_new_class_that_does_something_else_is_refused(pipeline: type) -> None:
    with pytest.raises(VisgateError, match=r"org/new is a BrandNewPipeline and cannot do text2img") as caught:
        adapter(pipeline)
    assert caught.value.code is ErrorCode.TASK_NOT_SUPPORTED
    assert caught.value.hint


def test_a_known_class_of_another_task_is_refused_whatever_its_signature() -> None:
    with pytest.raises(VisgateError, match="cannot do text2img"):
        TextToImage.for_pipeline(Drawing, capability_of({"_class_name": "WanPipeline"}), model_id="org/video")


@given(st.integers(min_value=0, max_value=2**53), st.integers(min_value=1, max_value=8))
def test_the_nth_picture_has_seed_plus_n(seed: int, count: int) -> None:
    calls = adapter().plan(Text2ImgInput(prompt="x", num_images=count), seed=seed)
    assert [call.seed for call in calls] == [seed + n for n in range(count)]


def test_what_is_asked_for_reaches_the_pipeline() -> None:
    params = Text2ImgInput(prompt="x", width=64, height=128, steps=5, guidance_scale=0)
    (call,) = adapter().plan(params, seed=1)
    assert call.arguments == {"prompt": "x", "width": 64, "height": 128, "num_inference_steps": 5, "guidance_scale": 0}
    assert call.steps == 5


def test_a_value_that_the_pipeline_does_not_take_is_named() -> None:
    with pytest.raises(VisgateError, match=r"params\.negative_prompt: BrandNewPipeline") as caught:
        adapter().plan(Text2ImgInput(prompt="x", negative_prompt="y"), seed=1)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
