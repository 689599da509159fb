"""Where a request says its task, and which files it is granted for."""

from typing import Any

import pytest
from pydantic import ValidationError

from pulumi_visgate.gateway.routes.schemas import JobRequestBody
from visgate_contract.tasks import Image2ImgInput, Task, Text2ImgInput, Text2VideoInput

IMAGE = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("body", "schema"),
    [
        ({"input": {}}, Text2ImgInput),
        ({"task": "text_to_video", "input": {}}, Text2VideoInput),
        ({"input": {"task": "text2video"}}, Text2VideoInput),
        ({"task": "img2img", "input": {"image": IMAGE}}, Image2ImgInput),
        ({"task": "image2img", "input": {"task": "image2img", "image": IMAGE}}, Image2ImgInput),
    ],
)
def test_the_task_is_said_in_either_place(body: dict[str, Any], schema: type) -> None:
    given = {"prompt": "a fox", **body["input"]}
    made = JobRequestBody.model_validate({"model": "a/b", **body, "input": given})
    assert isinstance(made.input, schema)
    assert made.task is made.input.task


def test_said_in_both_it_has_to_be_the_same() -> None:
    body = {"model": "a/b", "task": "text2video", "input": {"task": "text2img", "prompt": "a fox"}}
    with pytest.raises(ValidationError, match="is the input of text2img, but task is text2video"):
        JobRequestBody.model_validate(body)


def test_the_published_schema_names_every_task() -> None:
    schema = JobRequestBody.model_json_schema()
    assert set(schema["$defs"]["Task"]["enum"]) == set(Task)
    assert set(schema["properties"]["input"]["discriminator"]["mapping"]) == set(Task)
