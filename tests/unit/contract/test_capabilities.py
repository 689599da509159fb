from collections.abc import Mapping
from typing import Any

import pytest

from visgate_contract.capabilities import LISTED, capability_of, pipeline_class
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.families import FAMILIES, Family
from visgate_contract.pipelines import catalogue, signature_of
from visgate_contract.tasks import Task

PICTURES = {Task.TEXT2IMG, Task.IMAGE2IMG, Task.INPAINT}
CLIPS = {Task.TEXT2VIDEO, Task.IMAGE2VIDEO}


@pytest.mark.parametrize(
    ("pipeline", "family", "tasks"),
    [
        ("StableDiffusionPipeline", Family.STABLE_DIFFUSION, PICTURES),
        ("StableDiffusionInpaintPipeline", Family.STABLE_DIFFUSION, {Task.INPAINT}),
        ("StableDiffusionXLPipeline", Family.STABLE_DIFFUSION_XL, PICTURES),
        ("FluxPipeline", Family.FLUX, PICTURES),
        ("FluxFillPipeline", Family.FLUX, {Task.INPAINT}),
        ("WanPipeline", Family.WAN, {Task.TEXT2VIDEO}),
        ("WanImageToVideoPipeline", Family.WAN, {Task.IMAGE2VIDEO}),
        ("LTXPipeline", Family.LTX, CLIPS),
    ],
)
def test_the_class_decides_family_and_tasks(pipeline: str, family: Family, tasks: set[Task]) -> None:
    capability = capability_of({"_class_name": pipeline, "_name_or_path": "stabilityai/looks-like-something-else"})
    assert (capability.family, set(capability.tasks), capability.problem) == (family, tasks, "")


@pytest.mark.parametrize(
    ("pipeline", "more", "configs", "tasks"),
    [
        ("StableDiffusionInpaintPipeline", {}, {"unet": {"in_channels": 4}}, PICTURES),
        ("StableDiffusionPipeline", {}, {"unet": {"in_channels": 9}}, {Task.INPAINT}),
        ("StableDiffusionPipeline", {}, {"unet": {"in_channels": 5}}, set[Task]()),
        ("StableDiffusionXLImg2ImgPipeline", {"requires_aesthetics_score": True}, {}, {Task.IMAGE2IMG}),
        ("WanPipeline", {"expand_timesteps": True}, {}, CLIPS),
    ],
)
def test_the_parts_decide_what_the_class_leaves_open(
    pipeline: str, more: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]], tasks: set[Task]
) -> None:
    assert capability_of({"_class_name": pipeline, **more}, configs).tasks == tasks


@pytest.mark.parametrize("index", [{}, {"_class_name": ""}, {"_class_name": []}, {"_class_name": 7}])
def test_an_index_without_a_class_is_refused(index: dict[str, object]) -> None:
    with pytest.raises(ContractError, match="_class_name") as caught:
        pipeline_class(index)
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_a_missing_task_is_refused_with_what_there_is() -> None:
    capability = capability_of({"_class_name": "WanPipeline"})
    with pytest.raises(ContractError, match=r"org/video is a WanPipeline.*text2img.*It can do text2video") as caught:
        capability.route(Task.TEXT2IMG, model_id="org/video")
    assert caught.value.code is ErrorCode.TASK_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ({"_class_name": ["my_module", "StableDiffusionPipeline"]}, "code of its own"),
        ({"_class_name": "FluxPipeline", "transformer": ["my_module", "Mine"]}, "code of its own"),
        ({"_class_name": "BrandNewPipeline"}, "knows no such pipeline"),
        ({"_class_name": "StableAudioPipeline"}, "audio"),
        ({"_class_name": "FluxControlNetPipeline"}, "works from control_guidance_end"),
        ({"_class_name": "MarigoldDepthPipeline"}, "takes no prompt"),
        ({"_class_name": "WanAnimatePipeline"}, "needs face_video, pose_video"),
        ({"_class_name": "KandinskyV22PriorPipeline"}, "neither a picture nor a clip"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(index: dict[str, object], problem: str) -> None:
    capability = capability_of(index)
    assert not capability.tasks
    assert problem in capability.problem
    with pytest.raises(ContractError, match=problem):
        capability.route(Task.TEXT2IMG, model_id="org/model")


def test_usual_parts_are_no_code_of_its_own() -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "requires_safety_checker": True,
    }
    assert capability_of(index).tasks == PICTURES


def test_a_class_that_is_not_listed_does_what_its_signature_says() -> None:
    capability = capability_of({"_class_name": "KolorsPipeline"})
    assert (capability.family, set(capability.tasks)) == (None, {Task.TEXT2IMG, Task.IMAGE2IMG})
    assert capability.routes[Task.IMAGE2IMG].pipeline == "KolorsImg2ImgPipeline"
    assert capability_of({"_class_name": "MochiPipeline"}).tasks == {Task.TEXT2VIDEO}


def test_the_table_names_classes_that_do_what_it_says() -> None:
    for pipeline, (family, routes) in LISTED.items():
        assert family in FAMILIES
        for task, name in routes.items():
            signature = signature_of(name)
            assert signature is not None, name
            assert signature.does(task, is_listed=True), (pipeline, task, name)
            assert name in LISTED, name


def test_the_table_agrees_with_the_classes_that_diffusers_itself_calls_siblings() -> None:
    for pipeline, (_, routes) in LISTED.items():
        siblings = signature_of(pipeline).siblings  # type: ignore[union-attr]  # the test above
        known = {task: name for task, name in siblings.items() if task in routes}
        assert known == {task: routes[task] for task in known}, pipeline


def test_every_class_of_diffusers_can_do_something_or_says_why_not() -> None:
    for pipeline in catalogue().pipelines:
        capability = capability_of({"_class_name": pipeline})
        assert bool(capability.tasks) != bool(capability.problem), pipeline
        for task, route in capability.routes.items():
            assert route.signature.does(task, is_listed=capability.family is not None)


def test_a_model_of_few_steps_is_known_by_its_configuration() -> None:
    def steps(pipeline: str, more: Mapping[str, Any], **configs: Mapping[str, Any]) -> int | None:
        return capability_of({"_class_name": pipeline, **more}, configs).routes[Task.TEXT2IMG].traits.steps

    assert steps("FluxPipeline", {}, transformer={"guidance_embeds": False}) == 4
    assert steps("FluxPipeline", {}, transformer={"guidance_embeds": True}) is None
    assert steps("Flux2KleinPipeline", {"is_distilled": True}) == 4
    assert steps("StableDiffusionXLPipeline", {"scheduler": ["diffusers", "LCMScheduler"]}) == 4


def test_sizes_and_frames_follow_the_configuration() -> None:
    wan = capability_of({"_class_name": "WanPipeline"}, {"vae": {"scale_factor_spatial": 16}})
    assert wan.routes[Task.TEXT2VIDEO].traits.multiple == 32
    learned = {"use_learned_positional_embeddings": True, "sample_width": 90, "sample_height": 60}
    cog = capability_of({"_class_name": "CogVideoXImageToVideoPipeline"}, {"transformer": learned})
    assert cog.routes[Task.IMAGE2VIDEO].traits.sides == (720, 480)
    newer = capability_of({"_class_name": "CogVideoXPipeline"}, {"transformer": {"patch_size_t": 2}})
    assert newer.routes[Task.TEXT2VIDEO].traits.fps == 16
