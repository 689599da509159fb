from typing import Any

import pytest
from pydantic import ValidationError

from visgate_contract.tasks import MAX_SEED, ImageFormat, Text2ImgInput


def test_a_prompt_is_enough() -> None:
    made = Text2ImgInput(prompt="a red fox")
    assert (made.num_images, made.output_format, made.seed, made.width) == (1, ImageFormat.PNG, None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 8001),
        ("negative_prompt", "x" * 8001),
        ("width", 0),
        ("width", -64),
        ("width", 63),
        ("width", 65),
        ("height", 2056),
        ("steps", 0),
        ("steps", 151),
        ("guidance_scale", -0.1),
        ("guidance_scale", 31),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("num_images", 0),
        ("num_images", 9),
        ("output_format", "gif"),
        ("task", "text2video"),
        ("style", "oil"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Text2ImgInput.model_validate({"prompt": "a red fox", field: value})
    assert [problem["loc"] for problem in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 64), ("height", 2048), ("steps", 150), ("seed", MAX_SEED), ("guidance_scale", 0), ("num_images", 8)],
)
def test_the_bounds_themselves_are_allowed(field: str, value: Any) -> None:
    made = Text2ImgInput.model_validate({"prompt": "a red fox", field: value})
    assert getattr(made, field) == value


def test_media_types() -> None:
    assert [one.content_type for one in ImageFormat] == ["image/png", "image/jpeg", "image/webp"]
