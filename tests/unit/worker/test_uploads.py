from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import Upload
from visgate_worker.failures import JobFailedError
from visgate_worker.uploads import ATTEMPTS, Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.worker.conftest import Server

SIGNATURE = "5e" * 32


@pytest.fixture
def uploader() -> "Iterator[Uploader]":
    made = Uploader(first_wait_s=0.01, deadline_s=5)
    yield made
    made.close()


def upload_to(server: "Server", **headers: str) -> Upload:
    url = f"{server.url}/bucket/key.png?X-Amz-Signature={SIGNATURE}&token=hush"
    return Upload(put_url=url, headers=headers, cdn_url="https://cdn/key.png")


def test_a_put_sends_the_bytes_and_the_signed_headers(make_server: "Callable[..., Server]", uploader: Uploader) -> None:
    server = make_server()
    upload = upload_to(server, **{"Content-Type": "image/x-signed", "x-amz-acl": "private"})
    uploader.put(upload, b"data", content_type="image/png")
    (request,) = server.requests
    assert (request.method, request.body) == ("PUT", b"data")
    assert request.headers["content-type"] == "image/x-signed"
    assert request.headers["x-amz-acl"] == "private"
    assert f"X-Amz-Signature={SIGNATURE}" in request.path


def test_passing_faults_are_retried(
    make_server: "Callable[..., Server]", answer_of: "Callable[..., Any]", uploader: Uploader
) -> None:
    statuses = [500, 503, 429, 200]
    server = make_server(lambda _: answer_of(status=statuses.pop(0)))
    uploader.put(upload_to(server), b"data", content_type="image/png")
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (400, 1), (307, 1), (500, ATTEMPTS)])
def test_a_refusal_is_told_without_the_signature(
    make_server: "Callable[..., Server]",
    answer_of: "Callable[..., Any]",
    uploader: Uploader,
    status: int,
    attempts: int,
) -> None:
    elsewhere = make_server()
    server = make_server(lambda _: answer_of(status=status, headers={"location": elsewhere.url}))
    with pytest.raises(JobFailedError, match=rf"127\.0\.0\.1: status {status}") as caught:
        uploader.put(upload_to(server), b"data", content_type="image/png")
    assert caught.value.code is ErrorCode.UPLOAD_FAILED
    assert SIGNATURE not in repr(caught.value) + str(caught.value)
    assert "hush" not in str(caught.value)
    assert len(server.requests) == attempts
    assert elsewhere.requests == []


def test_a_store_that_is_down_fails_in_bounded_time(make_server: "Callable[..., Server]", uploader: Uploader) -> None:
    server = make_server()
    server.close()
    with pytest.raises(JobFailedError, match="ConnectError") as caught:
        uploader.put(upload_to(server), b"data", content_type="image/png")
    assert SIGNATURE not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["ftp://host/x", "nonsense", "http://[broken"])
def test_an_upload_url_that_is_none_fails_at_once(uploader: Uploader, url: str) -> None:
    with pytest.raises(JobFailedError):
        uploader.put(Upload(put_url=url, cdn_url=""), b"data", content_type="image/png")
