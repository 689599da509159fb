"""A scheduler by name works for every family that says so."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker.families.cases import CASES, Case
from visgate_contract.families import FAMILIES
from visgate_contract.tasks import Scheduler, Task, Text2ImgInput, Text2VideoInput
from visgate_worker.runtime.base import Clip

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served

# numpy's warnings about the schedulers, which nobody here can heed.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

STEPS = 3
# One model of each family, whose other models have schedulers of the same kind.
ONE_EACH = {
    case.family: case for case in reversed(CASES) if case.family and case.tasks[0] in {Task.TEXT2IMG, Task.TEXT2VIDEO}
}


def pixels(served: "Served", case: Case, scheduler: Scheduler | None) -> bytes:
    size: dict[str, Any] = {"width": 96, "height": 64, "steps": STEPS, "scheduler": scheduler}
    params = (
        Text2VideoInput(prompt="a fox", num_frames=9, **size)
        if case.tasks[0].makes_clips
        else Text2ImgInput(prompt="a fox", **size)
    )
    (call,) = served.model.adapter(params.task).plan(params, seed=7)
    (made,) = served.model.runtime.generate([call], lambda _: None)
    return bytes(made.frames.tobytes() if isinstance(made, Clip) else made.tobytes())


@pytest.mark.parametrize("case", ONE_EACH.values(), ids=lambda case: case.model)
def test_every_scheduler_that_a_family_takes_draws_something_else(
    serve_family: "Callable[[str], Served]", case: Case
) -> None:
    assert case.family is not None
    served = serve_family(case.model)
    own = pixels(served, case, None)
    made = {name: pixels(served, case, name) for name in sorted(FAMILIES[case.family].schedulers)}
    for name, picture in made.items():
        assert len(set(picture)) > 2, name
    # One of them can be the model's own, and DDPM's step is that of ancestral Euler in other words.
    assert len(set(made.values()) | {own}) >= len(made) - 1
    assert pixels(served, case, None) == own
