from pathlib import Path

import av
import numpy as np
import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import VideoFormat
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.base import Clip
from visgate_worker.video import encode_clip

CODECS = {VideoFormat.MP4: "h264", VideoFormat.WEBM: "vp9"}


@pytest.mark.parametrize("video_format", VideoFormat)
def test_colours_and_their_order_survive(video_format: VideoFormat, tmp_path: Path) -> None:
    frames = np.zeros((6, 64, 96, 3), dtype="float32")
    frames[:3, :, :, 0] = 1.0
    frames[3:, :, :, 2] = 1.0
    file = tmp_path / f"clip.{video_format.file_extension}"
    encode_clip(Clip(frames, 12), file)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        seen = [frame.to_ndarray(format="rgb24")[32, 48] for frame in container.decode(stream)]
        assert stream.average_rate == 12
        assert stream.codec_context.name.removeprefix("lib") == CODECS[video_format]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == 1
    assert [int(pixel.argmax()) for pixel in seen] == [0, 0, 0, 2, 2, 2]
    assert all(int(pixel.max()) > 200 for pixel in seen)


def test_values_that_are_no_colours_fail_the_job(tmp_path: Path) -> None:
    frames = np.full((2, 64, 64, 3), np.nan, dtype="float32")
    with pytest.raises(JobFailedError, match="no colours") as caught:
        encode_clip(Clip(frames, 12), tmp_path / "clip.mp4")
    assert caught.value.code is ErrorCode.GENERATION_FAILED


@pytest.mark.parametrize("video_format", VideoFormat)
def test_the_same_clip_gives_the_same_bytes(video_format: VideoFormat, tmp_path: Path) -> None:
    frames = np.random.default_rng(7).random((4, 64, 96, 3), dtype="float32")
    files = [tmp_path / f"{n}.{video_format.file_extension}" for n in range(2)]
    for file in files:
        encode_clip(Clip(frames, 12), file, comment="a fox")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_mp4_can_be_played_before_it_is_there_whole(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    encode_clip(Clip(np.zeros((4, 64, 96, 3), dtype="float32"), 12), file)
    data = file.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
