"""Tasks that begin from a picture, with the parts that are loaded already."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.unit.worker.families.inputs import RED, plain

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server
    from tests.unit.worker.families.conftest import Served


def test_the_parts_are_not_loaded_a_second_time(serve_family: "Callable[[str], Served]") -> None:
    served = serve_family("stable-diffusion")
    served.files(task="image2img", image=RED, strength=1.0)
    runtime: Any = served.model.runtime
    (made,) = runtime._eager._made_of_it.values()
    assert type(made).__name__ == "StableDiffusionImg2ImgPipeline"
    assert made.unet is runtime._eager.pipeline.unet
    assert made.vae is runtime._eager.pipeline.vae


def test_sizes_follow_the_picture_unless_they_are_asked_for(serve_family: "Callable[[str], Served]") -> None:
    served = serve_family("stable-diffusion")
    for more, size in (({"width": 128}, (128, 80)), ({"width": 64, "height": 64}, (64, 64)), ({}, (96, 64))):
        (data,) = served.files(task="image2img", image=plain("red", (99, 65)), strength=1.0, **more)
        assert Image.open(io.BytesIO(data)).size == size


def test_less_than_one_step_is_refused_with_how_many_it_takes(serve_family: "Callable[[str], Served]") -> None:
    error = serve_family("stable-diffusion").run(task="image2img", image=RED, strength=0.3, steps=3).error
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
    assert served.files(**asked, image=f"{web.url}/a.png") == served.files(**asked, image=RED)
    error = served.run(**asked, image="https://10.0.0.1/a.png").error
    assert error is not None
    assert error.detail == "params.image: names an address that is not public."
