from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from pulumi_visgate.local.host.cdn import Cdn, PublishedBuckets, is_plain_key

PICTURE = bytes(range(256)) * 40


def store(request: httpx.Request) -> httpx.Response:
    """An S3 server with one object, that insists on a signature."""
    assert "X-Amz-Signature=" in str(request.url.query)
    if urlsplit(str(request.url)).path != "/pictures/a1b2/task_1/0.png":
        return httpx.Response(404, content=b"<Error><Code>NoSuchKey</Code></Error>")
    headers = {"content-type": "image/png", "etag": '"abc"', "accept-ranges": "bytes", "x-amz-request-id": "internal"}
    if request.headers.get("if-none-match") == '"abc"':
        return httpx.Response(304, headers=headers, stream=httpx.ByteStream(b""))
    if request.headers.get("range") == "bytes=0-9":
        headers |= {"content-range": f"bytes 0-9/{len(PICTURE)}"}
        return httpx.Response(206, stream=httpx.ByteStream(PICTURE[:10]), headers=headers)
    if request.method == "HEAD":
        headers |= {"content-length": str(len(PICTURE))}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b""))
    return httpx.Response(200, stream=httpx.ByteStream(PICTURE), headers=headers)


def down(request: httpx.Request) -> httpx.Response:
    message = "refused"
    raise httpx.ConnectError(message, request=request)


@pytest.fixture
def published(tmp_path: Path) -> PublishedBuckets:
    buckets = PublishedBuckets(tmp_path / "cdn.json")
    buckets.add("pictures")
    return buckets


def route(published: PublishedBuckets, s3: httpx.MockTransport) -> httpx.AsyncClient:
    signer = boto3.client(
        "s3",
        endpoint_url="http://s3.test",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    cdn = Cdn(signer, httpx.AsyncClient(transport=s3), published)
    app = Starlette(routes=[Route("/cdn/{bucket}/{key:path}", cdn.serve, methods=["GET", "HEAD"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cdn.test/cdn/")


@pytest.fixture
async def cdn(published: PublishedBuckets) -> AsyncIterator[httpx.AsyncClient]:
    async with route(published, httpx.MockTransport(store)) as client:
        yield client


async def test_an_artifact_comes_with_the_headers_of_a_cdn(cdn: httpx.AsyncClient) -> None:
    answer = await cdn.get("pictures/a1b2/task_1/0.png")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert "x-amz-request-id" not in answer.headers


async def test_a_part_of_it(cdn: httpx.AsyncClient) -> None:
    answer = await cdn.get("pictures/a1b2/task_1/0.png", headers={"range": "bytes=0-9"})
    assert (answer.status_code, answer.content) == (206, PICTURE[:10])
    assert answer.headers["content-range"] == f"bytes 0-9/{len(PICTURE)}"


async def test_head_tells_the_size(cdn: httpx.AsyncClient) -> None:
    answer = await cdn.head("pictures/a1b2/task_1/0.png")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(PICTURE))


async def test_what_the_client_has_is_not_sent_again(cdn: httpx.AsyncClient) -> None:
    answer = await cdn.get("pictures/a1b2/task_1/0.png", headers={"if-none-match": '"abc"'})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "pictures/none.png",
        "pictures/",
        "private/a1b2/task_1/0.png",
        "pictures/a1b2/../../private/x",
        "pictures/%2e%2e/private/x",
        "pictures/..%2fprivate%2fx",
        "pictures//a1b2/task_1/0.png",
        "pictures/.sgwtmp/x",
        "pictures/a1b2/.hidden",
        "pictures/a%00b",
    ],
)
async def test_anything_else_is_the_same_plain_404(cdn: httpx.AsyncClient, path: str) -> None:
    answer = await cdn.get(path)
    assert (answer.status_code, answer.text) == (404, "There is no such file.\n")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_withdrawn_bucket_is_gone(cdn: httpx.AsyncClient, published: PublishedBuckets) -> None:
    published.discard("pictures")
    assert (await cdn.get("pictures/a1b2/task_1/0.png")).status_code == 404


async def test_only_reading(cdn: httpx.AsyncClient) -> None:
    assert (await cdn.put("pictures/a1b2/task_1/0.png", content=b"x")).status_code == 405


async def test_a_dead_store_is_a_502_in_words(published: PublishedBuckets) -> None:
    async with route(published, httpx.MockTransport(down)) as client:
        answer = await client.get("pictures/a1b2/task_1/0.png")
    assert answer.status_code == 502
    assert "S3 server" in answer.text


def test_published_buckets_survive(tmp_path: Path) -> None:
    buckets = PublishedBuckets(tmp_path / "cdn.json")
    buckets.add("b")
    buckets.add("a")
    buckets.add("a")
    buckets.discard("b")
    assert PublishedBuckets(tmp_path / "cdn.json").names() == ["a"]


@given(st.lists(st.text("abc01-_.", min_size=1).filter(lambda part: not part.startswith(".")), min_size=1))
def test_every_key_of_plain_parts_is_served(parts: list[str]) -> None:
    assert is_plain_key("/".join(parts))


@given(st.text(), st.sampled_from(["..", ".", "", ".x"]), st.text())
def test_no_key_with_a_hidden_or_empty_part_is_served(before: str, part: str, after: str) -> None:
    assert not is_plain_key(f"{before}/{part}/{after}")
    assert not is_plain_key(quote(f"{before}/") + f"/{part}")
