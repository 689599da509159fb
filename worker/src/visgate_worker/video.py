"""Clips to files that browsers play: MP4 (H.264 in 4:2:0, the index in front), and WebM (VP9)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from visgate_contract.tasks import VideoFormat
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from visgate_worker.runtime.base import Clip

_BT709 = 1  # the same number for matrix, primaries and transfer (ITU-T H.273)
_LIMITED_RANGE = 1


@dataclass(frozen=True, slots=True)
class _Way:
    """How a format is written.

    Args:
        codec: Encoder of FFmpeg.
        options: Its options.
        container: Options of the container; no random ids and no dates, so that the same clip gives the same bytes.
    """

    codec: str
    options: dict[str, str]
    container: dict[str, str] = field(default_factory=lambda: {"fflags": "+bitexact"})


_WAYS = {
    VideoFormat.MP4: _Way(
        "libx264", {"crf": "18", "preset": "medium"}, {"movflags": "+faststart", "fflags": "+bitexact"}
    ),
    VideoFormat.WEBM: _Way("libvpx-vp9", {"crf": "24", "b:v": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
}


def encode_clip(clip: "Clip", destination: Path, *, comment: str | None = None) -> None:
    """Write a clip as the file that its destination is called.

    Args:
        clip: Frames in red, green and blue from 0 to 1, with even sides.
        destination: File to write; its suffix says the format.
        comment: Text that is written into the file.

    Raises:
        JobFailedError: The model made values that are no colours (`generation_failed`).
    """
    import av  # noqa: PLC0415, only for jobs that make a video
    from av.video.reformatter import Colorspace  # noqa: PLC0415, as above

    video_format = VideoFormat(destination.suffix.removeprefix("."))
    way = _WAYS[video_format]
    height, width = clip.frames.shape[1:3]
    with av.open(str(destination), "w", format=video_format.value, options=way.container) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = cast("av.VideoStream", container.add_stream(way.codec, rate=clip.fps, options=way.options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        for frame in clip.frames:
            picture = av.VideoFrame.from_ndarray(frame_pixels(frame), format="rgb24")
            planes = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            container.mux(stream.encode(planes))
        container.mux(stream.encode())


def frame_pixels(frame: Any) -> Any:
    """Return a frame's pixels as bytes.

    Args:
        frame: Array of height, width and red, green, blue, from 0 to 1.

    Raises:
        JobFailedError: Its values are no colours (`generation_failed`).
    """
    import numpy as np  # noqa: PLC0415, only for jobs that make a video

    if not np.isfinite(frame).all():
        detail = "The model made values that are no colours."
        raise JobFailedError(detail, hint="Lower guidance_scale or change the seed.")
    return (frame.clip(0, 1) * 255).round().astype("uint8")
