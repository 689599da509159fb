from pathlib import Path

import av
import numpy as np
import pytest

from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.base import Clip
from visgate_worker.video import encode_mp4


def test_colours_and_their_order_survive(tmp_path: Path) -> None:
    frames = np.zeros((6, 64, 96, 3), dtype="float32")
    frames[:3, :, :, 0] = 1.0
    frames[3:, :, :, 2] = 1.0
    encode_mp4(Clip(frames, 12), tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        seen = [frame.to_ndarray(format="rgb24")[32, 48] for frame in container.decode(stream)]
        assert stream.average_rate == 12
        assert stream.codec_context.colorspace == 1
    assert [int(pixel.argmax()) for pixel in seen] == [0, 0, 0, 2, 2, 2]
    assert all(int(pixel.max()) > 200 for pixel in seen)


def test_values_that_are_no_colours_fail_the_job(tmp_path: Path) -> None:
    frames = np.full((2, 64, 64, 3), np.nan, dtype="float32")
    with pytest.raises(JobFailedError, match="no colours") as caught:
        encode_mp4(Clip(frames, 12), tmp_path / "clip.mp4")
    assert caught.value.code is ErrorCode.GENERATION_FAILED
