import pytest

from visgate_contract.capabilities import Family, capability_of, pipeline_class, require_task
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.tasks import Task


@pytest.mark.parametrize(
    ("pipeline", "family", "task"),
    [
        ("StableDiffusionPipeline", Family.STABLE_DIFFUSION, Task.TEXT2IMG),
        ("StableDiffusionXLPipeline", Family.STABLE_DIFFUSION_XL, Task.TEXT2IMG),
        ("FluxPipeline", Family.FLUX, Task.TEXT2IMG),
        ("WanPipeline", Family.WAN, Task.TEXT2VIDEO),
    ],
)
def test_the_class_decides_family_and_tasks(pipeline: str, family: Family, task: Task) -> None:
    capability = capability_of({"_class_name": pipeline, "_name_or_path": "stabilityai/looks-like-something-else"})
    assert capability.family is family
    assert task in capability.tasks
    assert (Task.TEXT2VIDEO in capability.tasks) == (task is Task.TEXT2VIDEO)


def test_a_custom_pipeline_names_module_and_class() -> None:
    assert pipeline_class({"_class_name": ["my_module", "StableDiffusionPipeline"]}) == "StableDiffusionPipeline"


@pytest.mark.parametrize("index", [{}, {"_class_name": ""}, {"_class_name": []}, {"_class_name": 7}])
def test_an_index_without_a_class_is_refused(index: dict[str, object]) -> None:
    with pytest.raises(ContractError, match="_class_name") as caught:
        capability_of(index)
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_a_missing_task_is_refused_with_what_there_is() -> None:
    with pytest.raises(ContractError, match=r"org/video is a WanPipeline.*text2img.*It can do text2video") as caught:
        require_task(capability_of({"_class_name": "WanPipeline"}), Task.TEXT2IMG, model_id="org/video")
    assert caught.value.code is ErrorCode.TASK_NOT_SUPPORTED


def test_a_class_that_is_not_listed_is_left_to_its_signature() -> None:
    capability = capability_of({"_class_name": "BrandNewPipeline"})
    assert not capability.is_known
    require_task(capability, Task.TEXT2IMG, model_id="org/new")
