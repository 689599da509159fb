"""Text to image through every picture family: task schema → pipeline → stored file, in one process."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from visgate_contract.errors import ErrorCode
from visgate_contract.families import Family
from visgate_contract.tasks import Task, Text2ImgInput

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served

# numpy's warning about the scheduler of SDXL, which nobody here can heed.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Model → what its family does not take, and the multiple of its sides.
MODELS: dict[str, tuple[set[str], int]] = {
    "stable-diffusion": (set(), 8),
    "stable-diffusion-xl": (set(), 8),
    "stable-diffusion-3": (set(), 16),
    "flux": (set(), 16),
    "flux-schnell": ({"guidance_scale"}, 16),
    "flux-2-klein": ({"guidance_scale", "negative_prompt"}, 16),
    "flux-2-klein-base": ({"negative_prompt"}, 16),
    "qwen-image": (set(), 16),
    "z-image": (set(), 16),
    "pixart-alpha": (set(), 8),
    "pixart-sigma": (set(), 8),
    "sana": (set(), 32),
}


def test_every_picture_family_of_the_contract_is_here() -> None:
    video = {Family.WAN, Family.LTX, Family.COGVIDEOX, Family.HUNYUAN_VIDEO}
    named = {family for family in Family for model in MODELS if model.startswith(family.value)}
    assert named == set(Family) - video


@pytest.mark.parametrize("name", MODELS)
def test_a_family_draws_what_its_schema_asks(serve_family: "Callable[[str], Served]", name: str) -> None:
    served = serve_family(name)
    sides = {"width": 96, "height": 64}
    (data,) = served.files(**sides)
    artifact = served.results[-1].artifacts[0]
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.size) == ("PNG", (96, 64))
    assert (artifact.content_type, artifact.width, artifact.height, artifact.seed) == ("image/png", 96, 64, 7)
    assert len(picture.getcolors(96 * 64) or ()) > 1
    steps = [event.data.progress.step for event in served.results[-1].events if event.data.progress is not None]
    assert steps[-1] == 2
    assert served.files(**sides) == [data]
    assert served.files(**sides, seed=8) != [data]
    refused, _ = MODELS[name]
    for field, value in (("guidance_scale", 1.5), ("negative_prompt", "a blue lake")):
        if field in refused:
            error = served.run(**sides, **{field: value}).error
            assert error is not None
            assert (error.code, error.hint) == (ErrorCode.INVALID_REQUEST, "Leave it out.")
            assert f"params.{field}: " in error.detail
        else:
            assert served.files(**sides, **{field: value}) != [data], field


@pytest.mark.parametrize("name", [name for name, (_, multiple) in MODELS.items() if multiple > 8])
@pytest.mark.parametrize("field", ["width", "height"])
def test_a_size_that_a_family_would_round_is_refused_before_anything_is_drawn(
    serve_family: "Callable[[str], Served]", name: str, field: str
) -> None:
    multiple = MODELS[name][1]
    result = serve_family(name).run(**{field: 4 * multiple + 8})
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_REQUEST
    assert result.error.detail.startswith(f"params.{field}: {4 * multiple + 8} is not a multiple of {multiple}, which ")
    assert result.error.hint == f"Use {4 * multiple} or {5 * multiple}."
    assert result.timings is not None
    assert result.timings.generate_s == 0


@pytest.mark.parametrize(("name", "steps"), [("flux-schnell", 4), ("flux-2-klein", 4), ("flux", 28)])
def test_a_model_of_few_steps_is_known_by_its_configuration(
    serve_family: "Callable[[str], Served]", name: str, steps: int
) -> None:
    adapter = serve_family(name).model.adapter(Task.TEXT2IMG)
    (planned,) = adapter.plan(Text2ImgInput(prompt="a fox"), seed=1)
    assert planned.steps == steps
