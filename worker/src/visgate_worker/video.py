"""Clips to MP4: H.264 in 4:2:0, which every browser plays, with the index in front so that playing begins at once."""

from pathlib import Path
from typing import TYPE_CHECKING

from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from visgate_worker.runtime.base import Clip

CONTENT_TYPE = "video/mp4"
_QUALITY = {"crf": "18", "preset": "medium"}
_BT709 = 1  # the same number for matrix, primaries and transfer (ITU-T H.273)
_LIMITED_RANGE = 1


def encode_mp4(clip: "Clip", destination: Path) -> None:
    """Write a clip as an MP4 file.

    Args:
        clip: Frames in red, green and blue from 0 to 1, with even sides.
        destination: File to write.

    Raises:
        JobFailedError: The model made values that are no colours (`generation_failed`).
    """
    import av  # noqa: PLC0415, only for jobs that make a video
    import numpy as np  # noqa: PLC0415, as above
    from av.video.reformatter import Colorspace  # noqa: PLC0415, as above

    height, width = clip.frames.shape[1:3]
    with av.open(str(destination), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=clip.fps, options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        for frame in clip.frames:
            if not np.isfinite(frame).all():
                detail = "The model made values that are no colours."
                raise JobFailedError(detail, hint="Lower guidance_scale or change the seed.")
            pixels = (frame.clip(0, 1) * 255).round().astype("uint8")
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            planes = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            container.mux(stream.encode(planes))
        container.mux(stream.encode())
