from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from visgate_contract.tasks import (
    MAX_IMAGE_CHARACTERS,
    MAX_SEED,
    Image2ImgInput,
    ImageFormat,
    Task,
    TaskInput,
    Text2ImgInput,
    VideoFormat,
    field_path,
)

ANY: TypeAdapter[Any] = TypeAdapter(TaskInput)
IMAGE = "https://example.com/a.png"


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
    assert [one.content_type for one in ImageFormat] == ["image/png", "image/jpeg", "image/webp", "image/avif"]
    assert [one.content_type for one in VideoFormat] == ["video/mp4", "video/webm"]


def test_the_task_decides_the_schema_and_text_to_image_is_the_one_left_unsaid() -> None:
    assert isinstance(ANY.validate_python({"prompt": "a fox"}), Text2ImgInput)
    made = ANY.validate_python({"task": "image2img", "prompt": "a fox", "image": IMAGE})
    assert isinstance(made, Image2ImgInput)
    assert ANY.validate_json(ANY.dump_json(made)) == made


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"prompt": "a fox", "width": 1}, "width"),
        ({"task": "image2img", "prompt": "a fox"}, "image"),
        ({"prompt": "a fox", "image": IMAGE}, "image"),
        ({"task": "image2img", "prompt": "a fox", "image": IMAGE, "strength": 0}, "strength"),
        ({"task": "image2img", "prompt": "a fox", "image": IMAGE, "strength": 1.1}, "strength"),
        ({"task": "text2video", "prompt": "a fox", "num_frames": 4}, "num_frames"),
        ({"task": "text2video", "prompt": "a fox", "num_frames": 258}, "num_frames"),
        ({"task": "text2video", "prompt": "a fox", "fps": 0}, "fps"),
        ({"task": "text2video", "prompt": "a fox", "num_images": 2}, "num_images"),
        ({"task": "sing", "prompt": "a fox"}, ""),
        ({"task": "image2img", "prompt": "a fox", "image": "ftp://example.com/a.png"}, "image"),
        ({"task": "image2img", "prompt": "a fox", "image": "https://"}, "image"),
        ({"task": "image2img", "prompt": "a fox", "image": "data:text/html;base64,AA=="}, "image"),
        ({"task": "image2img", "prompt": "a fox", "image": IMAGE + "x" * MAX_IMAGE_CHARACTERS}, "image"),
    ],
)
def test_a_wrong_field_is_named_without_the_unions_tag(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ANY.validate_python(given)
    assert [field_path(problem["loc"]) for problem in caught.value.errors()] == [path]


def test_the_image_is_not_in_what_is_printed() -> None:
    made = Image2ImgInput(prompt="a fox", image=IMAGE + "?X-Amz-Signature=abcd")
    assert "abcd" not in repr(made)


def test_an_input_says_which_files_it_makes() -> None:
    made = Text2ImgInput(prompt="a fox", num_images=3, output_format=ImageFormat.JPEG)
    assert (made.artifact_count, made.content_type, made.file_extension) == (3, "image/jpeg", "jpg")
    assert made.task is Task.TEXT2IMG
    clip = ANY.validate_python({"task": "text2video", "prompt": "a fox"})
    assert (clip.artifact_count, clip.content_type, clip.file_extension) == (1, "video/mp4", "mp4")
