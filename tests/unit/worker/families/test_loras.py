"""Weights laid over a model's for one job: they act, and are gone afterwards."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageChops

from tests.unit.worker.families.cases import CASES
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Task

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server
    from tests.unit.worker.families.conftest import Served

# Of numpy about the scheduler of SDXL, and of peft about what diffusers does with several weights.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

# One model of each family, whose other models load weights in the same way.
_FIRST = {case.family: case.model for case in reversed(CASES) if case.family}
MODELS = [name for name in _FIRST.values() if not name.startswith("pixart")]


@pytest.fixture(scope="module")
def web(
    make_lasting_server: "Callable[..., Server]", lora_of_family: Callable[[str], Path], answer_of: Any
) -> "Server":
    """A server with the weights of every model."""
    return make_lasting_server(lambda request: answer_of(body=lora_of_family(request.path.split("/")[-2]).read_bytes()))


def asked(served: "Served") -> dict[str, Any]:
    video = Task.TEXT2VIDEO in served.model.capability.tasks
    more = {"task": Task.TEXT2VIDEO, "num_frames": 9} if video else {}
    return {"width": 96, "height": 64, **more}


@pytest.mark.parametrize("name", MODELS)
def test_weights_act_for_one_job(serve_family: "Callable[[str], Served]", web: "Server", name: str) -> None:
    served = serve_family(name)
    plain = served.files(**asked(served))
    lora = {"path": f"{web.url}/{name}/style.safetensors"}
    with_it = served.files(**asked(served), loras=[lora])
    assert with_it != plain
    assert served.files(**asked(served), loras=[{**lora, "scale": 0.25}]) not in ([], plain, with_it)
    assert served.files(**asked(served)) == plain
    assert len([request for request in web.requests if f"/{name}/" in request.path]) == 1
    result = served.results[-2]
    assert result.timings is not None
    assert result.timings.input_s is not None


def test_several_weights_add_up(serve_family: "Callable[[str], Served]", web: "Server") -> None:
    served = serve_family("stable-diffusion")
    one: dict[str, Any] = {"path": f"{web.url}/stable-diffusion/style.safetensors", "scale": 0.5}
    (both,) = served.files(**asked(served), loras=[one, {**one, "path": one["path"] + "?second"}])
    (twice,) = served.files(**asked(served), loras=[{**one, "scale": 1.0}])
    difference = ImageChops.difference(*(Image.open(io.BytesIO(file)) for file in (both, twice)))
    assert max(most for _, most in difference.getextrema()) <= 2  # type: ignore[misc]  # of three colours


def test_weights_for_another_model_are_refused_and_leave_nothing(
    serve_family: "Callable[[str], Served]", web: "Server"
) -> None:
    served = serve_family("flux")
    plain = served.files(**asked(served))
    error = served.run(**asked(served), loras=[{"path": f"{web.url}/stable-diffusion/style.safetensors"}]).error
    assert error is not None
    assert error.code is ErrorCode.INVALID_REQUEST
    assert error.detail.startswith("params.loras.0: is not made for FluxPipeline")
    assert served.files(**asked(served)) == plain
