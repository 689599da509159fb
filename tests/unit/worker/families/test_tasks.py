"""Every model does each of its tasks through the whole worker: task schema → pipeline → stored file, in one process."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image

from tests.unit.worker.families.cases import BY_MODEL, CASES, EVERYTHING
from tests.unit.worker.families.inputs import BLUE, LEFT_HALF, RED, RIGHT_HALF
from visgate_contract.bounds import steps_done
from visgate_contract.capabilities import LISTED
from visgate_contract.errors import ErrorCode
from visgate_contract.families import Family
from visgate_contract.tasks import Task

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served
    from visgate_contract.capabilities import Capability

# Nobody here can heed numpy's about the scheduler of SDXL, nor torch's about a pipeline that casts on the CPU.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]

SIZE, FRAMES = (96, 64), 9
OTHERS = {"guidance_scale": 1.5, "negative_prompt": "a blue lake", "image": BLUE, "mask": RIGHT_HALF}


def asked(served: "Served", task: Task) -> dict[str, Any]:
    """What a small job of a task asks for."""
    traits = served.model.capability.routes[task].traits
    given: dict[str, Any] = {"task": task, "steps": 2}
    if not traits.chooses_size:
        given |= {"width": SIZE[0], "height": SIZE[1]}
    if task.makes_clips:
        given |= {"num_frames": FRAMES, "fps": 10}
    if task in {Task.IMAGE2IMG, Task.INPAINT, Task.IMAGE2VIDEO}:
        given |= {"image": RED}
    if task is Task.INPAINT:
        given |= {"mask": LEFT_HALF}
    if "strength" in served.model.adapter(task).route.signature.takes:
        given |= {"strength": 0.5}
    return given


def check_picture(data: bytes, served: "Served") -> None:
    artifact, picture = served.results[-1].artifacts[0], Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert (artifact.content_type, artifact.width, artifact.height, artifact.seed) == ("image/png", *picture.size, 7)
    assert len(picture.getcolors(picture.width * picture.height) or ()) > 1


def check_clip(data: bytes, served: "Served", frames: int) -> None:
    artifact = served.results[-1].artifacts[0]
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        played = [(frame.width, frame.height) for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10
    assert played == [SIZE] * frames
    assert data.index(b"moov") < data.index(b"mdat")
    assert (artifact.content_type, artifact.width, artifact.height) == ("video/mp4", *SIZE)
    assert (artifact.num_frames, artifact.fps, artifact.duration_s) == (frames, 10, frames / 10)


@pytest.mark.parametrize(("name", "task"), EVERYTHING)
def test_a_model_does_its_task(serve_family: "Callable[[str], Served]", name: str, task: Task) -> None:
    served, case = serve_family(name), BY_MODEL[name]
    given = asked(served, task)
    several = {} if task.makes_clips else {"num_images": 2}
    first, *rest = served.files(**given, **several)
    result = served.results[-1]
    assert {event.data.task for event in result.events} == {task}
    assert result.timings is not None
    assert (result.timings.input_s is not None) == ("image" in given)
    if task.makes_clips:
        check_clip(first, served, case.frames)
        rest = served.files(**given, seed=8)
    else:
        check_picture(first, served)
        assert [made.seed for made in result.artifacts] == [7, 8]
    steps = (1 + len(several)) * steps_done(served.model.capability.routes[task], 2, given.get("strength"))
    progress = [event.data.progress for event in result.events if event.data.progress is not None]
    assert progress[-1].step == progress[-1].steps == steps
    # The same seed draws the same, alone as well as beside others, and another seed something else.
    assert [first] != rest == served.files(**given, seed=8)
    for field, value in OTHERS.items():
        if field in case.refuses:
            error = served.run(**given, **{field: value}).error
            assert error is not None
            assert (error.code, error.hint) == (ErrorCode.INVALID_REQUEST, "Leave it out.")
            assert f"params.{field}: " in error.detail
        elif field in given or field in {"guidance_scale", "negative_prompt"}:
            assert served.files(**{**given, field: value}) != [first], field


@pytest.mark.parametrize("name", BY_MODEL)
def test_a_model_can_do_what_it_is_known_for_and_says_so_of_the_rest(
    serve_family: "Callable[[str], Served]", name: str
) -> None:
    served, case = serve_family(name), BY_MODEL[name]
    assert (served.model.capability.family, set(served.model.capability.tasks)) == (case.family, set(case.tasks))
    for task in set(Task) - set(case.tasks):
        more = {"image": RED, "mask": RED} if task is Task.INPAINT else {}
        more |= {"image": RED} if task in {Task.IMAGE2IMG, Task.IMAGE2VIDEO} else {}
        error = served.run(task=task, **more).error
        assert error is not None
        assert (error.code, error.hint) == (ErrorCode.TASK_NOT_SUPPORTED, f"It can do {', '.join(sorted(case.tasks))}.")
    for task in case.tasks:
        route = served.model.capability.routes[task]
        assert (route.traits.steps or route.signature.steps) == case.steps or task is not case.tasks[0]


@pytest.mark.parametrize("name", [case.model for case in CASES if case.multiple > 8])
def test_a_size_that_a_model_would_round_is_refused_before_anything_is_drawn(
    serve_family: "Callable[[str], Served]", name: str
) -> None:
    served, case = serve_family(name), BY_MODEL[name]
    given = asked(served, case.tasks[0])
    for field in ("width", "height"):
        if served.model.capability.routes[case.tasks[0]].traits.sides is not None:
            continue
        value = 4 * case.multiple + 8
        result = served.run(**{**given, field: value})
        assert result.error is not None
        assert result.error.detail.startswith(f"params.{field}: {value} is not a multiple of {case.multiple}, which ")
        assert result.timings is not None
        assert result.timings.generate_s == 0


def test_every_class_of_the_table_is_run_for_each_of_its_tasks(
    capability_of_family: "Callable[[str], Capability]",
) -> None:
    """What this folder runs is all that the table promises: no route without a tiny model that takes it."""
    routes = [route for case in CASES for route in capability_of_family(case.model).routes.values()]
    run = {(route.task, route.pipeline) for route in routes}
    promised = {(task, pipeline) for _, listed in LISTED.values() for task, pipeline in listed.items()}
    assert promised - run == set()
    assert {case.family for case in CASES} >= set(Family)
