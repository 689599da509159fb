"""The tiny model and the runtime that really runs it; these share the one process in which torch is imported."""

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visgate_contract.capabilities import capability_of
from visgate_contract.errors import ErrorCode
from visgate_contract.families import Family
from visgate_contract.tasks import ImageFormat, Text2ImgInput
from visgate_worker import tiny_model
from visgate_worker.adapters.base import Generation
from visgate_worker.artifacts import encode
from visgate_worker.failures import JobCancelledError, JobFailedError
from visgate_worker.model import LoadedModel, find, import_frameworks, load
from visgate_worker.settings import Settings
from visgate_worker.sources.hub import Hub


@pytest.fixture(scope="module")
def model(tiny_volume: Path) -> LoadedModel:
    settings = Settings(model_id="visgate/tiny", volume_path=tiny_volume)
    found = find(settings)
    return load(found, settings, framework_import_s=import_frameworks(found.capability))


def draw(model: LoadedModel, **params: Any) -> list[bytes]:
    asked = Text2ImgInput.model_validate({"prompt": "a red fox", "width": 64, "height": 64, "steps": 3} | params)
    adapter = model.adapter(asked.task)
    return [encode(picture(model, one), ImageFormat.PNG) for one in adapter.plan(asked, seed=asked.seed or 1)]


def picture(model: LoadedModel, call: Generation) -> Image.Image:
    (made,) = model.runtime.generate([call], lambda _: None)
    assert isinstance(made, Image.Image)
    return made


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_is_an_ordinary_stable_diffusion_folder_of_a_few_megabytes(tiny_volume: Path) -> None:
    folder = tiny_volume / "models/visgate/tiny"
    index = json.loads((folder / "model_index.json").read_text())
    assert capability_of(index).family is Family.STABLE_DIFFUSION
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "scheduler", "text_encoder", "tokenizer", "unet", "vae"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10_000_000


def test_it_is_the_same_wherever_it_is_made_and_leaves_nothing_else(tiny_volume: Path, tmp_path: Path) -> None:
    assert tiny_model.make(tmp_path / "a")
    assert digests(tmp_path / "a") == digests(tiny_volume / "models/visgate/tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_second_time_nothing_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / tiny_model.RECIPE_FILE).write_text(json.dumps({"recipe": tiny_model.RECIPE}))
    assert not tiny_model.make(folder)
    assert [path.name for path in folder.iterdir()] == [tiny_model.RECIPE_FILE]


def test_half_a_model_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "unet").mkdir(parents=True)
    (folder / "left-over").write_text("x")
    assert tiny_model.make(folder)
    assert (folder / "model_index.json").is_file()
    assert not (folder / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / tiny_model.RECIPE_FILE).write_text(json.dumps({"recipe": tiny_model.RECIPE}))
    command = [sys.executable, "-m", "visgate_worker.tiny_model", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{folder}: was there\n"


def test_loading_reports_where_from_how_much_and_how_long(model: LoadedModel, tiny_volume: Path) -> None:
    folder = tiny_volume / "models/visgate/tiny"
    assert model.report.source == "volume"
    assert model.report.size_bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert model.report.seconds > 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(model: LoadedModel) -> None:
    first, again, other = (draw(model, seed=seed)[0] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_each_of_several_pictures_is_the_one_of_its_own_seed(model: LoadedModel) -> None:
    assert draw(model, seed=7, num_images=2) == [draw(model, seed=7)[0], draw(model, seed=8)[0]]


def test_the_prompt_matters(model: LoadedModel) -> None:
    assert draw(model, prompt="a red fox") != draw(model, prompt="a blue whale")


def test_steps_are_told_and_an_error_from_there_ends_the_generation(model: LoadedModel) -> None:
    asked = Text2ImgInput(prompt="x", width=64, height=64, steps=5)
    (call,) = model.adapter(asked.task).plan(asked, seed=1)
    told: list[int] = []
    model.runtime.generate([call], told.append)
    assert told == [1, 2, 3, 4, 5]
    stop = threading.Event()

    def until_third(step: int) -> None:
        told.append(step)
        if step == 3:
            stop.set()
            raise JobCancelledError

    told.clear()
    with pytest.raises(JobCancelledError):
        model.runtime.generate([call], until_third)
    assert told == [1, 2, 3]


def test_left_out_sizes_are_the_models_own(model: LoadedModel) -> None:
    asked = Text2ImgInput(prompt="x", steps=1)
    (call,) = model.adapter(asked.task).plan(asked, seed=1)
    assert picture(model, call).size == (512, 512)


def test_values_that_the_pipeline_refuses_are_the_callers_matter(model: LoadedModel) -> None:
    (call,) = model.adapter(Text2ImgInput(prompt="x").task).plan(Text2ImgInput(prompt="x", steps=1), seed=1)
    bad = type(call)({**call.arguments, "prompt": 5}, 1, 1)
    with pytest.raises(JobFailedError, match="StableDiffusionPipeline refused the request") as caught:
        model.runtime.generate([bad], lambda _: None)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_a_failure_after_the_first_step_is_the_models(model: LoadedModel) -> None:
    (call,) = model.adapter(Text2ImgInput(prompt="x").task).plan(
        Text2ImgInput(prompt="x", width=64, height=64, steps=2), seed=1
    )

    def fail(_: int) -> None:
        message = "broken"
        raise ValueError(message)

    with pytest.raises(JobFailedError, match="ValueError: broken") as caught:
        model.runtime.generate([call], fail)
    assert caught.value.code is ErrorCode.GENERATION_FAILED


@pytest.mark.parametrize(
    ("index", "code"),
    [
        ({"_class_name": "StableAudioPipeline"}, ErrorCode.TASK_NOT_SUPPORTED),
        ({"something": "else"}, ErrorCode.MODEL_LOAD_FAILED),
    ],
)
def test_a_model_that_cannot_serve_is_refused_before_its_weights_are_read(
    tmp_path: Path, index: dict[str, str], code: ErrorCode
) -> None:
    folder = tmp_path / "models/org/name"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(Exception, match=r"_class_name|cannot do text2img") as caught:
        find(Settings(model_id="org/name", volume_path=tmp_path))
    assert getattr(caught.value, "code", None) is code


def test_missing_weights_are_a_load_failure_without_the_volumes_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "download", lambda *_, **__: None)
    folder = tmp_path / "models/org/name"
    folder.mkdir(parents=True)
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(JobFailedError, match="is not whole: unet is missing") as caught:
        find(Settings(model_id="org/name", volume_path=tmp_path))
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED
