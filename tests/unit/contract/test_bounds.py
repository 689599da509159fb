from typing import Any

import pytest
from pydantic import TypeAdapter

from visgate_contract.bounds import FieldError, check_input
from visgate_contract.capabilities import capability_of
from visgate_contract.tasks import TaskInput

ANY: TypeAdapter[Any] = TypeAdapter(TaskInput)
IMAGE = {"image": "https://example.com/a.png"}
LEARNED = {"use_learned_positional_embeddings": True, "sample_width": 90, "sample_height": 60}


def refused(pipeline: str, given: dict[str, Any], **configs: dict[str, Any]) -> FieldError | None:
    params = ANY.validate_python({"prompt": "a fox", **given})
    route = capability_of({"_class_name": pipeline}, configs).route(params.task, model_id="org/model")
    try:
        check_input(route, params)
    except FieldError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("pipeline", "given", "field", "hint"),
    [
        ("FluxPipeline", {"width": 72}, "width", "Use 64 or 80."),
        ("SanaPipeline", {"height": 72}, "height", "Use 64 or 96."),
        ("FluxPipeline", {"width": 2048, "height": 2048}, "width", "Use at most 2097152, such as 1440 x 1440."),
        ("WanPipeline", {"task": "text2video", "num_frames": 8}, "num_frames", "Use 5 or 9."),
        ("LTXPipeline", {"task": "text2video", "num_frames": 11}, "num_frames", "Use 9 or 17."),
        ("WanPipeline", {"task": "text2video", "num_frames": 125}, "num_frames", "Use at most 121."),
        ("StableDiffusionPipeline", {"task": "image2img", "strength": 0.3, "steps": 3, **IMAGE}, "strength",
         "Ask for at least 4 steps, or more strength."),
        ("FluxKontextPipeline", {"task": "image2img", "strength": 0.3, **IMAGE}, "strength", "Leave it out."),
        ("Flux2Pipeline", {"negative_prompt": "red"}, "negative_prompt", "Leave it out."),
        ("PixArtSigmaPipeline", {"loras": [{"path": "org/lora"}]}, "loras", "Leave it out."),
        ("FluxPipeline", {"scheduler": "ddim"}, "scheduler", "Leave it out, or use one of euler, lcm, unipc."),
        ("KolorsPipeline", {"scheduler": "euler"}, "scheduler", "Leave it out."),
    ],
)  # fmt: skip
def test_what_a_model_would_round_or_ignore_is_refused_with_what_it_takes(
    pipeline: str, given: dict[str, Any], field: str, hint: str
) -> None:
    error = refused(pipeline, given)
    assert error is not None
    assert (error.field, error.hint) == (field, hint)
    assert error.detail == f"params.{field}: {error.problem}"


def test_a_distilled_model_takes_no_guidance() -> None:
    error = refused("FluxPipeline", {"guidance_scale": 2}, transformer={"guidance_embeds": False})
    assert error is not None
    assert error.field == "guidance_scale"


def test_a_model_of_one_size_says_which() -> None:
    pipeline, clip = "CogVideoXImageToVideoPipeline", {"task": "image2video", **IMAGE}
    error = refused(pipeline, {**clip, "width": 512}, transformer=LEARNED)
    assert error is not None
    assert error.problem == "this CogVideoXImageToVideoPipeline draws 720 x 480 only."
    assert refused(pipeline, {**clip, "width": 720, "height": 480}, transformer=LEARNED) is None


@pytest.mark.parametrize(
    ("pipeline", "given"),
    [
        ("StableDiffusionPipeline", {"width": 72, "scheduler": "dpmpp_2m_karras", "negative_prompt": "red"}),
        ("FluxPipeline", {"width": 2048, "height": 1024, "loras": [{"path": "org/lora"}], "scheduler": "unipc"}),
        ("LTXPipeline", {"task": "image2video", "num_frames": 257, **IMAGE}),
        ("FluxFillPipeline", {"task": "inpaint", "mask": IMAGE["image"], **IMAGE}),
    ],
)
def test_what_a_model_takes_is_let_through(pipeline: str, given: dict[str, Any]) -> None:
    assert refused(pipeline, given) is None
