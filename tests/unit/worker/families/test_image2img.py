"""Image to image through every family that has it, with the parts that are loaded already."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from visgate_contract.capabilities import capability_of
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Image2ImgInput, Task

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server
    from tests.unit.worker.families.conftest import Served

# numpy's warning about the scheduler of SDXL, which nobody here can heed.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WITH_STRENGTH = ("stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3", "flux", "qwen-image", "z-image")
BY_REFERENCE = ("flux-2-klein", "flux-2-klein-base")


def data_uri(colour: str, size: tuple[int, int] = (96, 64)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("name", [*WITH_STRENGTH, *BY_REFERENCE])
def test_a_family_goes_on_from_a_picture(serve_family: "Callable[[str], Served]", name: str) -> None:
    served = serve_family(name)
    asked: dict[str, Any] = {"task": "image2img", "image": data_uri("red"), "steps": 4}
    strength = {"strength": 0.5} if name in WITH_STRENGTH else {}
    (data,) = served.files(**asked, **strength)
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size) == ("PNG", (96, 64))
    result = served.results[-1]
    assert {event.data.task for event in result.events} == {Task.IMAGE2IMG}
    assert result.timings is not None
    assert result.timings.input_s is not None
    assert served.files(**asked, **strength) == [data]
    assert served.files(**{**asked, "image": data_uri("blue")}, **strength) != [data]
    if name in WITH_STRENGTH:
        steps = [event.data.progress for event in result.events if event.data.progress is not None]
        assert (steps[-1].step, steps[-1].steps) == (2, 2)
        assert served.files(**asked, strength=1.0) != [data]
    else:
        error = served.run(**asked, strength=0.5).error
        assert error is not None
        assert (error.code, error.hint) == (ErrorCode.INVALID_REQUEST, "Leave it out.")


def test_the_parts_are_not_loaded_a_second_time(serve_family: "Callable[[str], Served]") -> None:
    served = serve_family("stable-diffusion")
    served.files(task="image2img", image=data_uri("red"), strength=1.0)
    runtime: Any = served.model.runtime
    (made,) = runtime._made_of_it.values()
    assert type(made).__name__ == "StableDiffusionImg2ImgPipeline"
    assert made.unet is runtime._loaded.unet
    assert made.vae is runtime._loaded.vae


def test_sizes_follow_the_picture_unless_they_are_asked_for(serve_family: "Callable[[str], Served]") -> None:
    served = serve_family("stable-diffusion")
    for more, size in (({"width": 128}, (128, 80)), ({"width": 64, "height": 64}, (64, 64)), ({}, (96, 64))):
        (data,) = served.files(task="image2img", image=data_uri("red", (99, 65)), strength=1.0, **more)
        assert Image.open(io.BytesIO(data)).size == size


def test_less_than_one_step_is_refused_with_how_many_it_takes(serve_family: "Callable[[str], Served]") -> None:
    error = serve_family("stable-diffusion").run(task="image2img", image=data_uri("red"), strength=0.3, steps=3).error
    assert error is not None
    assert error.detail == "params.strength: 0.3 of 3 steps is less than one step."
    assert error.hint == "Ask for at least 4 steps, or more strength."


def test_a_picture_comes_from_a_server_too(
    serve_family: "Callable[[str], Served]", make_server: "Callable[..., Server]", answer_of: Callable[..., Any]
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(buffer, format="PNG")
    web = make_server(lambda _: answer_of(body=buffer.getvalue()))
    served = serve_family("stable-diffusion")
    asked: dict[str, Any] = {"task": "image2img", "strength": 1.0}
    assert served.files(**asked, image=f"{web.url}/a.png") == served.files(**asked, image=data_uri("red"))
    error = served.run(**asked, image="https://10.0.0.1/a.png").error
    assert error is not None
    assert error.detail == "params.image: names an address that is not public."


@pytest.mark.parametrize("name", ["pixart-alpha", "sana"])
def test_a_family_without_it_says_what_it_can_do(serve_family: "Callable[[str], Served]", name: str) -> None:
    error = serve_family(name).run(task="image2img", image=data_uri("red")).error
    assert error is not None
    assert (error.code, error.hint) == (ErrorCode.TASK_NOT_SUPPORTED, "It can do text2img.")


def test_the_table_says_the_same() -> None:
    classes = {"FluxPipeline": True, "Flux2KleinPipeline": True, "SanaPipeline": False, "WanPipeline": False}
    for name, has in classes.items():
        assert (Task.IMAGE2IMG in capability_of({"_class_name": name}).tasks) == has
    assert Image2ImgInput(prompt="a fox", image=data_uri("red")).artifact_count == 1
