"""Pictures from outside: what is fetched, from where, and what is refused."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from visgate_contract.addresses import EgressPolicy
from visgate_contract.errors import ErrorCode
from visgate_worker import inputs
from visgate_worker.failures import JobFailedError
from visgate_worker.inputs import ImageInputs, decode

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server

LOCAL = EgressPolicy(allow_loopback=True)


def file(image_format: str = "PNG", *, size: tuple[int, int] = (6, 4), mode: str = "RGB", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, (255, 0, 0, 0)[: len(mode)]).save(buffer, format=image_format, **more)
    return buffer.getvalue()


@pytest.fixture
def images() -> Iterator[ImageInputs]:
    made = ImageInputs(LOCAL, deadline_s=5, max_bytes=4096)
    yield made
    made.close()


@pytest.fixture
def web(make_server: "Callable[..., Server]", answer_of: Callable[..., Any]) -> "Server":
    return make_server(lambda _: answer_of(body=file(), content_type="text/plain"))


def why(images: ImageInputs, reference: str) -> str:
    with pytest.raises(JobFailedError) as caught:
        images.load(reference)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.detail.startswith("params.image: ")
    assert caught.value.hint
    return caught.value.detail


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_by_data_uri_whatever_type_it_claims(images: ImageInputs, image_format: str) -> None:
    encoded = base64.b64encode(file(image_format)).decode()
    assert images.load(f"data:image/png;base64,{encoded}").size == (6, 4)


def test_a_picture_comes_by_url_whatever_type_its_server_claims(images: ImageInputs, web: "Server") -> None:
    assert images.load(f"{web.url}/a.png").getpixel((0, 0)) == (255, 0, 0)
    (request,) = web.requests
    assert (request.method, request.path) == ("GET", "/a.png")
    assert "cookie" not in request.headers


def test_transparent_becomes_white_and_cameras_are_held_upright() -> None:
    assert decode(file(mode="RGBA")).getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decode(file("JPEG", exif=exif)).size == (4, 6)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("data:image/png;base64,!!!!", "base64 is damaged"),
        ("data:image/png;base64," + base64.b64encode(b"GIF89a" + b"\0" * 50).decode(), "not a PNG, JPEG or WebP"),
        ("data:image/png;base64," + base64.b64encode(file("GIF")).decode(), "not a PNG, JPEG or WebP"),
        ("data:image/png;base64," + base64.b64encode(file(size=(400, 400))[:-60]).decode(), "damaged picture"),
        ("data:image/png;base64," + "A" * 9000, "larger than 4096 bytes"),
        ("http://example.com/a.png", "must use https"),
        ("https://10.0.0.1/a.png", "not public"),
        ("https://169.254.169.254/latest", "not public"),
        ("https://user:word@example.com/", "user name or password"),
        ("https://example.com:22/", "port 22"),
    ],
)
def test_what_is_refused_and_why(images: ImageInputs, reference: str, words: str) -> None:
    assert words in why(images, reference)


def test_a_size_that_would_fill_the_memory_is_refused_before_it_is_decoded(
    images: ImageInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "MAX_PIXELS", 23)
    assert "6 x 4 pixels" in why(images, "data:image/png;base64," + base64.b64encode(file()).decode())


def test_a_file_is_cut_off_at_its_limit(images: ImageInputs, web: "Server", answer_of: Callable[..., Any]) -> None:
    web.answer = lambda _: answer_of(body=b"x" * 5000)
    assert "larger than 4096 bytes" in why(images, f"{web.url}/a.png")


def test_a_server_that_has_no_picture_is_told(
    images: ImageInputs, web: "Server", answer_of: Callable[..., Any]
) -> None:
    web.answer = lambda _: answer_of(status=404)
    assert "answered 404" in why(images, f"{web.url}/a.png?X-Amz-Signature=secret")
    web.close()
    said = why(images, f"{web.url}/a.png?X-Amz-Signature=secret")
    assert "ConnectError" in said
    assert "secret" not in said


def test_a_server_that_never_ends_is_left_at_the_deadline(web: "Server", answer_of: Callable[..., Any]) -> None:
    released = threading.Event()
    web.answer = lambda _: answer_of(before=lambda: released.wait(20))
    images = ImageInputs(LOCAL, deadline_s=0.2)
    try:
        assert "ReadTimeout" in why(images, f"{web.url}/a.png")
    finally:
        released.set()
        images.close()


def test_redirects_are_followed_within_the_rules(
    images: ImageInputs, web: "Server", answer_of: Callable[..., Any]
) -> None:
    def answer(request: Any) -> Any:
        if request.path == "/a.png":
            return answer_of(body=file())
        to = {"/near": "/a.png", "/private": "http://192.168.0.1/", "/loop": "/loop", "/odd": "https://a:b/"}[
            request.path
        ]
        return answer_of(status=302, headers={"location": to})

    web.answer = answer
    assert images.load(f"{web.url}/near").size == (6, 4)
    assert "https" in why(images, f"{web.url}/private")
    assert "more than 3 times" in why(images, f"{web.url}/loop")
    assert "could not be fetched" in why(images, f"{web.url}/odd")


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:10.0.0.1"], []])
def test_a_name_that_leads_inside_is_not_dialled(found: list[str]) -> None:
    images = ImageInputs(resolver=lambda _host, _port: found)
    assert "not public" in why(images, "https://example.com/a.png")
    images.close()


def test_the_address_that_was_checked_is_the_one_that_is_dialled(web: "Server") -> None:
    asked: list[str] = []

    def resolver(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    images = ImageInputs(LOCAL, resolver=resolver)
    port = web.url.rpartition(":")[2]
    assert images.load(f"http://localhost:{port}/a.png").size == (6, 4)
    images.close()
    assert asked == ["localhost"]
    assert web.requests[0].headers["host"] == f"localhost:{port}"


def test_a_name_that_does_not_resolve_in_time_is_refused() -> None:
    released = threading.Event()

    def resolver(_host: str, _port: int) -> list[str]:
        released.wait(20)
        return []

    images = ImageInputs(resolver=resolver, deadline_s=0.1)
    try:
        assert "does not resolve" in why(images, "https://example.com/")
    finally:
        released.set()
        images.close()
