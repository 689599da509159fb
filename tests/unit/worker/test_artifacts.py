import hashlib
import io
import json
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import ImageFormat, TaskInput, Text2ImgInput, Text2VideoInput, VideoFormat
from visgate_worker.artifacts import THUMBNAIL_SIDE, check_type, encode, file_of, sha256, size_of
from visgate_worker.failures import JobFailedError
from visgate_worker.provenance import GENERATED, NAMESPACE, Provenance, xmp
from visgate_worker.runtime.base import Clip

PROMPT = "a fox & a <hare> \u2014 \U0001f98a"


def picture() -> Image.Image:
    made = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    made.info["date"] = "of no interest"
    return made


def clip() -> Clip:
    frames = np.zeros((5, 64, 96, 3), dtype="float32")
    frames[..., 0] = 1.0
    return Clip(frames, 8)


def origin(params: TaskInput) -> Provenance:
    return Provenance.of(params, model_id="org/model", revision="a" * 40).with_details(seed=7, steps=4)


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        found.append(kind)
        at += 12 + length
    return found


@pytest.mark.parametrize("image_format", ImageFormat)
def test_the_same_pixels_give_the_same_valid_file(image_format: ImageFormat) -> None:
    data = encode(picture(), image_format)
    assert data == encode(picture(), image_format)
    with Image.open(io.BytesIO(data)) as read:
        assert read.format == image_format.value.upper()
        assert read.size == (96, 64)
        difference = np.abs(np.asarray(read.convert("RGB"), dtype=int) - np.asarray(picture(), dtype=int))
    assert difference.mean() < 2


def test_a_png_is_lossless_and_holds_no_chunk_but_the_picture() -> None:
    data = encode(picture(), ImageFormat.PNG)
    with Image.open(io.BytesIO(data)) as read:
        assert read.tobytes() == picture().tobytes()
    assert set(chunks(data)) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("image_format", ImageFormat)
def test_what_made_a_picture_is_in_the_file_where_tools_look(image_format: ImageFormat, tmp_path: Path) -> None:
    params = Text2ImgInput(prompt=PROMPT, output_format=image_format, guidance_scale=3)
    file = file_of(picture(), params, tmp_path, about=origin(params).text())
    assert isinstance(file.content, bytes)
    assert file.content_type == image_format.content_type
    with Image.open(io.BytesIO(file.content)) as read:
        read.load()
        packet = read.info["xmp"] if "xmp" in read.info else read.info["XML:com.adobe.xmp"].encode()
    described = {one.tag.rpartition("}")[2]: one.text for one in ET.fromstring(packet).iter()}
    assert described["DigitalSourceType"] == GENERATED
    assert (described["model"], described["revision"], described["seed"]) == ("org/model", "a" * 40, "7")
    said = json.loads(described["parameters"] or "")
    assert (said["prompt"], said["guidance_scale"], said["steps"]) == (PROMPT, 3, 4)


@pytest.mark.parametrize("image_format", ImageFormat)
def test_without_consent_only_that_a_model_made_it_is_in_the_file(image_format: ImageFormat, tmp_path: Path) -> None:
    params = Text2ImgInput(prompt="a very secret fox", output_format=image_format)
    file = file_of(picture(), params, tmp_path, about=None)
    assert isinstance(file.content, bytes)
    assert GENERATED.encode() in file.content
    assert b"secret" not in file.content
    assert b"<visgate:" not in file.content


def test_what_xml_cannot_say_does_not_break_a_packet() -> None:
    packet = xmp(json.dumps({"parameters": {"prompt": "a fox\x00\x0b\ud800"}, "model": "a\x00b"}))
    [model] = [one.text for one in ET.fromstring(packet).iter(f"{{{NAMESPACE}}}model")]
    assert model == "a\ufffdb"


@pytest.mark.parametrize("video_format", VideoFormat)
def test_a_clip_has_a_poster_a_thumbnail_and_its_origin(video_format: VideoFormat, tmp_path: Path) -> None:
    params = Text2VideoInput(prompt=PROMPT, output_format=video_format)
    file = file_of(clip(), params, tmp_path, about=origin(params).text())
    assert isinstance(file.content, Path)
    assert (file.content_type, file.num_frames, file.fps, file.duration_s) == (f"video/{video_format}", 5, 8, 0.625)
    assert (file.width, file.height, file.size_bytes) == (96, 64, file.content.stat().st_size)
    assert file.poster is not None
    for small, kind in ((file.poster, "JPEG"), (file.thumbnail, "WEBP")):
        with Image.open(io.BytesIO(small)) as read:
            assert (read.format, read.size) == (kind, (96, 64))
            pixel = read.convert("RGB").getpixel((48, 32))
            assert isinstance(pixel, tuple)
            assert pixel[0] > 200
            assert pixel[1] < 60
    with av.open(str(file.content)) as container:
        comment = {name.lower(): value for name, value in container.metadata.items()}["comment"]
    assert json.loads(comment)["parameters"]["prompt"] == PROMPT


def test_a_thumbnail_is_small_and_keeps_its_shape(tmp_path: Path) -> None:
    wide = Image.new("RGB", (THUMBNAIL_SIDE * 4, THUMBNAIL_SIDE))
    file = file_of(wide, Text2ImgInput(prompt="a fox"), tmp_path, about=None)
    with Image.open(io.BytesIO(file.thumbnail)) as read:
        assert (read.format, read.size) == ("WEBP", (THUMBNAIL_SIDE, THUMBNAIL_SIDE // 4))
    assert file.poster is None


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp", "image/avif", "video/mp4", "video/webm"])
def test_a_file_that_is_not_what_it_says_is_not_sent(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"<html>nothing of the kind</html>")
    content: Any
    for content in (b"", b"<html>nothing of the kind</html>", tmp_path / "file"):
        with pytest.raises(JobFailedError, match=f"no {kind}") as caught:
            check_type(content, kind)
        assert caught.value.code is ErrorCode.INTERNAL


def test_digest_and_size_are_those_of_the_bytes_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    for content in (b"abc", tmp_path / "file"):
        assert sha256(content) == hashlib.sha256(b"abc").hexdigest()
        assert size_of(content) == 3
