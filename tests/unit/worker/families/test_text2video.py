"""Text to video through every video family, to a file that is played again."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import av
import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Task, Text2VideoInput

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served

# Model → what its sides are multiples of, and its number of frames less one.
MODELS = {"wan": (16, 4), "ltx": (32, 8), "cogvideox": (16, 8), "hunyuan-video": (16, 4)}
ASKED: dict[str, Any] = {"task": "text2video", "width": 96, "height": 64, "num_frames": 9}


def played(data: bytes) -> tuple[list[tuple[int, int]], Any]:
    """Decode every frame and return their sizes, and the stream."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        return [(frame.width, frame.height) for frame in container.decode(stream)], stream


@pytest.mark.parametrize("name", MODELS)
def test_a_family_makes_a_clip_that_plays(serve_family: "Callable[[str], Served]", name: str) -> None:
    served = serve_family(name)
    (data,) = served.files(**ASKED, fps=10)
    sizes, stream = played(data)
    assert sizes == [(96, 64)] * 9
    assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
    assert data.index(b"moov") < data.index(b"mdat")
    result = served.results[-1]
    artifact = result.artifacts[0]
    assert (artifact.content_type, artifact.width, artifact.height) == ("video/mp4", 96, 64)
    assert (artifact.num_frames, artifact.fps, artifact.duration_s) == (9, 10, 0.9)
    assert artifact.size_bytes == len(data)
    request = served.store.requests[-1]
    assert (request.headers["content-type"], request.headers["content-length"]) == ("video/mp4", str(len(data)))
    steps = [event.data.progress.step for event in result.events if event.data.progress is not None]
    assert steps[-1] == 2
    assert served.files(**ASKED, fps=10, seed=8) != [data]
    assert served.files(**ASKED, fps=10, guidance_scale=1.5) != [data]
    assert served.files(**ASKED, fps=10, negative_prompt="a blue lake") != [data]


@pytest.mark.parametrize("name", MODELS)
def test_what_a_family_would_round_is_refused_before_anything_is_made(
    serve_family: "Callable[[str], Served]", name: str
) -> None:
    multiple, step = MODELS[name]
    wrong = {"width": multiple * 4 + 8, "height": multiple * 4 + 8, "num_frames": 2 * step}
    near = {"width": (multiple * 4, multiple * 5), "height": (multiple * 4, multiple * 5)}
    near["num_frames"] = (step + 1, 2 * step + 1)
    for field, value in wrong.items():
        result = serve_family(name).run(**ASKED | {field: value})
        assert result.error is not None
        assert result.error.code is ErrorCode.INVALID_REQUEST
        assert result.error.detail.startswith(f"params.{field}: {value} is not a multiple of ")
        assert result.error.hint == "Use {} or {}.".format(*near[field])
        assert result.timings is not None
        assert result.timings.generate_s == 0


@pytest.mark.parametrize(("name", "fps"), [("wan", 16), ("ltx", 25), ("cogvideox", 8), ("hunyuan-video", 24)])
def test_left_out_values_are_those_the_family_was_trained_with(
    serve_family: "Callable[[str], Served]", name: str, fps: int
) -> None:
    adapter = serve_family(name).model.adapter(Task.TEXT2VIDEO)
    (planned,) = adapter.plan(Text2VideoInput(prompt="a fox"), seed=1)
    assert (planned.fps, planned.steps) == (fps, 50)
    assert planned.arguments.get("frame_rate", fps) == fps


def test_a_video_model_draws_no_pictures(serve_family: "Callable[[str], Served]") -> None:
    error = serve_family("wan").run(width=96, height=64).error
    assert error is not None
    assert (error.code, error.hint) == (ErrorCode.TASK_NOT_SUPPORTED, "It can do text2video.")
