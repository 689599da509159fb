from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visgate_contract.bounds import FieldError
from visgate_contract.capabilities import Route, capability_of
from visgate_contract.families import GENERIC, Traits
from visgate_contract.tasks import Image2ImgInput, Image2VideoInput, InpaintInput, Task, Text2ImgInput
from visgate_worker.adapters.adapter import Adapter
from visgate_worker.adapters.pictures import fitted, fitting
from visgate_worker.adapters.signatures import signature_of

IMAGE = "https://example.com/a.png"


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
        prompt_embeds: Any = None,
        **kwargs: Any,
    ) -> None:
        """Draw."""


def adapter(traits: Traits = GENERIC) -> Adapter:
    return Adapter(Route(Task.TEXT2IMG, "BrandNewPipeline", signature_of(Drawing), traits))


def test_a_class_says_itself_what_it_takes() -> None:
    signature = signature_of(Drawing)
    assert signature.takes == {"prompt", "height", "width", "num_inference_steps", "guidance_scale", "generator"}
    assert (set(signature.needs), signature.steps, signature.pixels) == ({"prompt"}, 28, None)
    assert [task for task in Task if signature.does(task)] == [Task.TEXT2IMG]


def test_a_prompt_is_enough() -> None:
    (call,) = adapter().plan(Text2ImgInput(prompt="a fox"), seed=1)
    assert call.arguments == {"prompt": "a fox", "num_inference_steps": 28}
    assert (call.steps, call.pipeline) == (28, "BrandNewPipeline")


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
    with pytest.raises(FieldError, match=r"params\.negative_prompt: BrandNewPipeline"):
        adapter().plan(Text2ImgInput(prompt="x", negative_prompt="y"), seed=1)


@pytest.mark.parametrize(
    ("size", "asked", "multiple", "drawn"),
    [
        ((4000, 1000), (None, None), 16, (2048, 512)),
        ((10, 10), (None, None), 8, (64, 64)),
        ((10, 5000), (None, None), 32, (64, 2048)),
        ((100, 50), (None, 512), 16, (1024, 512)),
        ((1000, 1000), (512, 256), 8, (512, 256)),
        ((2000, 2000), (None, None), 8, (1024, 1024)),
    ],
)
def test_sizes_stay_within_the_bounds(
    size: tuple[int, int], asked: tuple[int | None, int | None], multiple: int, drawn: tuple[int, int]
) -> None:
    found = fitting(size, width=asked[0], height=asked[1], multiple=multiple, max_pixels=1024 * 1024)
    assert found == drawn


def test_a_picture_is_cropped_at_the_middle_where_its_shape_differs() -> None:
    picture = Image.new("RGB", (120, 40), "red")
    picture.paste("blue", (40, 0, 80, 40))
    made = fitted(picture, 64, 64)
    assert (made.size, made.getpixel((32, 32))) == ((64, 64), (0, 0, 255))


def test_image_and_mask_come_to_one_size() -> None:
    route = capability_of({"_class_name": "FluxPipeline"}).route(Task.INPAINT, model_id="org/model")
    images = {"image": Image.new("RGB", (200, 100)), "mask": Image.new("RGB", (50, 25))}
    params = InpaintInput(prompt="x", image=IMAGE, mask=IMAGE, strength=0.5, steps=10)
    (call,) = Adapter(route).plan(params, seed=1, images=images)
    assert (call.arguments["image"].size, call.arguments["mask_image"].size) == ((192, 96), (192, 96))
    assert (call.arguments["width"], call.arguments["height"], call.steps) == (192, 96, 5)


def test_a_clips_size_follows_its_picture_within_the_size_of_the_model() -> None:
    route = capability_of({"_class_name": "WanImageToVideoPipeline"}).route(Task.IMAGE2VIDEO, model_id="org/model")
    params = Image2VideoInput(prompt="x", image=IMAGE)
    (call,) = Adapter(route).plan(params, seed=1, images={"image": Image.new("RGB", (3000, 2000))})
    width, height = call.arguments["width"], call.arguments["height"]
    assert (width, height) == (768, 512)
    assert width * height <= 480 * 832


def test_an_editor_of_pictures_takes_no_strength() -> None:
    route = capability_of({"_class_name": "FluxKontextPipeline"}).route(Task.IMAGE2IMG, model_id="org/model")
    with pytest.raises(FieldError, match=r"params\.strength"):
        Adapter(route).plan(Image2ImgInput(prompt="x", image=IMAGE, strength=0.5), seed=1)
