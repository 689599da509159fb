"""Uploads as the gateway grants them and the worker makes them, at the real S3 server."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest

from pulumi_visgate.gateway.services import uploads as granting
from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.store import ArtifactStore
from pulumi_visgate.gateway.services.uploads import Uploads
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from tests import s3
from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobInput, Multipart, Upload
from visgate_contract.tasks import TaskInput, Text2ImgInput, Text2VideoInput
from visgate_worker.failures import JobCancelledError, JobFailedError
from visgate_worker.uploads import Uploader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.contract

BUCKET = "artifacts"
TASK_ID = "task_" + "u" * 26
USER = "ab" * 32
MIB = 1024 * 1024
PART = 5 * MIB  # as small as S3 takes them

Fault = Callable[[httpx.Request], httpx.Response | Exception | None]


class Unreliable(httpx.BaseTransport):
    """The way to the store. A fault may stand in for an answer; a request that it names has arrived all the same."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.before: Fault = lambda _: None
        self.after: Fault = lambda _: None
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls[kind(request)] += 1
        fault = self.before(request)
        if fault is None:
            answer = self._inner.handle_request(request)
            answer.read()
            fault = self.after(request)
        if isinstance(fault, Exception):
            raise fault
        return fault or answer

    def close(self) -> None:
        self._inner.close()


def kind(request: httpx.Request) -> str:
    """Return what S3 calls a request."""
    query = parse_qs(urlsplit(str(request.url)).query)
    part = f" {query['partNumber'][0]}" if "partNumber" in query else ""
    return f"{request.method}{part}"


def once(wanted: str, fault: httpx.Response | Exception) -> Fault:
    """Return what gives one request of a kind this fault."""
    left = [fault]
    return lambda request: left.pop() if kind(request) == wanted and left else None


@pytest.fixture(scope="module")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("s3")
    for name in ("buckets", "metadata"):
        (root / name).mkdir()
    with s3.s3_server(root / "buckets", root / "metadata") as address:
        store(address).create_bucket(Bucket=BUCKET)
        yield address


def store(address: str) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=s3.S3_KEY_ID,
        aws_secret_access_key=s3.S3_SECRET,
    )


class Platform:
    """A gateway's uploads, a worker's uploader, and the store between them."""

    def __init__(self, address: str) -> None:
        self.s3 = store(address)
        self.settings = Settings.model_validate(
            {
                "public_url": "http://gateway.test",
                "signing_key": "signing-key-of-the-tests-0123456789",
                "image": "visgate-worker:test",
                "gpu_pools": ("ADA_24",),
                "data_center_ids": ("EU-RO-1",),
                "models": (OfferedModel(model_id="visgate/tiny"),),
                "bucket": BUCKET,
                "s3_endpoint": address,
                "s3_access_key_id": s3.S3_KEY_ID,
                "s3_secret_access_key": s3.S3_SECRET,
                "cdn_base_url": f"http://cdn.test/{BUCKET}",
            }
        )
        self.network = Unreliable()
        self.uploader = Uploader(httpx.Client(transport=self.network), first_wait_s=0.01, deadline_s=20)
        self.user = secrets.token_hex(32)

    def grant(self, params: TaskInput) -> JobInput:
        async def granted() -> JobInput:
            async with httpx.AsyncClient() as client:
                kept = ArtifactStore(self.settings, client)
                uploads = Uploads(self.settings, kept, Links(self.settings, kept))
                await uploads.ready()
                given = uploads.grant(user_hash=self.user, task_id=TASK_ID, params=params)
                receipt = uploads.receipt(user_hash=self.user, task_id=TASK_ID)
                job = JobInput(task_id=TASK_ID, model_id="a/b", params=params, uploads=given, receipt=receipt)
                return await uploads.in_parts(self.user, job)

        return asyncio.run(granted())

    def clip(self) -> tuple[Upload, Multipart]:
        """Grant the upload of a clip, which may come in parts."""
        [upload] = self.grant(Text2VideoInput(prompt="a red ball")).uploads
        assert upload.multipart is not None
        return upload, upload.multipart

    def has(self, upload: Upload) -> bytes:
        """Return what the store has there."""
        body: bytes = self.s3.get_object(Bucket=BUCKET, Key=key_of(upload))["Body"].read()
        return body

    def unfinished(self) -> list[str]:
        """Return the keys of uploads in parts that were begun and not ended."""
        found = self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [one["Key"] for one in found if one["Key"].startswith(self.user[:16])]


def key_of(upload: Upload) -> str:
    return urlsplit(upload.put_url).path.removeprefix(f"/{BUCKET}/")


@pytest.fixture
def platform(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(granting, "PART_BYTES", PART)
    made = Platform(s3_address)
    yield made
    made.uploader.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three parts, each of its own bytes."""
    made = tmp_path_factory.mktemp("film") / "clip.mp4"
    made.write_bytes(b"".join(bytes([n]) * size for n, size in ((1, PART), (2, PART), (3, MIB))))
    return made


def test_each_file_of_a_job_arrives_under_its_own_type(platform: Platform) -> None:
    job = platform.grant(Text2ImgInput(prompt="a fox", num_images=2))
    receipt, thumbnail = job.receipt, job.uploads[1].thumbnail
    assert receipt is not None
    assert thumbnail is not None
    for upload, content_type in (
        (job.uploads[1], "image/png"),
        (thumbnail, "image/webp"),
        (receipt, "application/jose"),
    ):
        platform.uploader.put(upload, content_type.encode(), content_type=content_type)
        assert platform.has(upload) == content_type.encode()
        assert platform.s3.head_object(Bucket=BUCKET, Key=key_of(upload))["ContentType"] == content_type
        assert upload.cdn_url == f"http://cdn.test/{BUCKET}/{key_of(upload)}"
    folder = f"{platform.user[:16]}/{TASK_ID}"
    assert [key_of(one) for one in job.uploads] == [f"{folder}/0.png", f"{folder}/1.png"]
    assert platform.network.calls == {"PUT": 3, "HEAD": 1}


def test_a_grant_is_for_one_object_and_type(platform: Platform) -> None:
    one, other = platform.grant(Text2ImgInput(prompt="a fox", num_images=2)).uploads
    elsewhere = one.model_copy(update={"put_url": one.put_url.replace("/0.png", "/2.png")})
    retyped = other.model_copy(update={"headers": {"Content-Type": "text/html"}})
    for upload in (elsewhere, retyped):
        with pytest.raises(JobFailedError, match="status 403") as caught:
            platform.uploader.put(upload, b"data", content_type="image/png")
        assert caught.value.code is ErrorCode.UPLOAD_FAILED


def test_a_large_clip_goes_in_parts(platform: Platform, film: Path) -> None:
    upload, _ = platform.clip()
    assert platform.unfinished() == [key_of(upload)]
    signs: list[int] = []
    platform.uploader.put(upload, film, content_type="video/mp4", alive=lambda: signs.append(1))
    assert platform.has(upload) == film.read_bytes()
    assert platform.s3.head_object(Bucket=BUCKET, Key=key_of(upload))["ContentType"] == "video/mp4"
    assert platform.network.calls == {"PUT 1": 1, "PUT 2": 1, "PUT 3": 1, "POST": 1, "HEAD": 1}
    assert len(signs) == 3
    assert platform.unfinished() == []


@pytest.mark.parametrize(
    ("before", "after", "repeated"),
    [
        (once("PUT 2", httpx.Response(503)), None, "PUT 2"),
        (once("PUT 2", httpx.WriteError("reset")), None, "PUT 2"),
        (None, once("PUT 3", httpx.ReadError("the answer was lost")), "PUT 3"),
        (once("POST", httpx.Response(500)), None, "POST"),
        (once("POST", httpx.Response(200, content=b"<Error><Code>InternalError</Code></Error>")), None, "POST"),
        (once("HEAD", httpx.ConnectTimeout("slow")), None, "HEAD"),
    ],
)
def test_only_what_failed_is_sent_again(
    platform: Platform, film: Path, before: Fault | None, after: Fault | None, repeated: str
) -> None:
    upload, _ = platform.clip()
    platform.network.before = before or platform.network.before
    platform.network.after = after or platform.network.after
    platform.uploader.put(upload, film, content_type="video/mp4")
    assert platform.has(upload) == film.read_bytes()
    calls = {"PUT 1": 1, "PUT 2": 1, "PUT 3": 1, "POST": 1, "HEAD": 1}
    assert platform.network.calls == calls | {repeated: 2}


def test_a_lost_answer_to_the_end_is_no_failure(platform: Platform, film: Path) -> None:
    upload, _ = platform.clip()
    platform.network.after = once("POST", httpx.ReadError("the answer was lost"))
    platform.uploader.put(upload, film, content_type="video/mp4")
    assert platform.has(upload) == film.read_bytes()
    assert platform.network.calls["PUT"] == 0  # it was not sent a second time


def test_a_worker_that_begins_again_where_one_has_ended_sends_the_file_whole(platform: Platform, film: Path) -> None:
    upload, _ = platform.clip()
    platform.uploader.put(upload, film, content_type="video/mp4")
    platform.uploader.put(upload, film, content_type="video/mp4")
    assert platform.has(upload) == film.read_bytes()
    assert platform.unfinished() == []


def test_a_worker_that_begins_again_amid_the_parts_goes_on_with_them(platform: Platform, film: Path) -> None:
    upload, _ = platform.clip()

    def killed() -> None:
        raise JobCancelledError

    with pytest.raises(JobCancelledError):
        platform.uploader.put(upload, film, content_type="video/mp4", alive=killed)
    platform.uploader.put(upload, film, content_type="video/mp4")
    assert platform.has(upload) == film.read_bytes()


def test_a_small_clip_goes_whole_and_nothing_stays_begun(platform: Platform, tmp_path: Path) -> None:
    upload, _ = platform.clip()
    (tmp_path / "clip.mp4").write_bytes(b"small")
    platform.uploader.put(upload, tmp_path / "clip.mp4", content_type="video/mp4")
    assert platform.has(upload) == b"small"
    assert platform.network.calls == {"PUT": 1, "HEAD": 1, "DELETE": 1}
    assert platform.unfinished() == []


def test_a_file_of_more_parts_than_were_granted_goes_whole(platform: Platform, film: Path) -> None:
    upload, parts = platform.clip()
    fewer = parts.model_copy(update={"part_urls": parts.part_urls[:2]})
    platform.uploader.put(upload.model_copy(update={"multipart": fewer}), film, content_type="video/mp4")
    assert platform.has(upload) == film.read_bytes()
    assert "PUT 1" not in platform.network.calls


@pytest.mark.parametrize("headers", [{"content-length": "3"}, {"content-length": "4", "content-type": "text/plain"}])
def test_what_the_store_does_not_have_as_it_was_sent_is_sent_again(platform: Platform, headers: dict[str, str]) -> None:
    [upload] = platform.grant(Text2ImgInput(prompt="a fox")).uploads
    platform.network.before = once("HEAD", httpx.Response(200, headers=headers))
    platform.uploader.put(upload, b"data", content_type="image/png")
    assert platform.network.calls == {"PUT": 2, "HEAD": 2}


def test_what_the_store_never_has_fails_with_what_it_has_instead(platform: Platform) -> None:
    [upload] = platform.grant(Text2ImgInput(prompt="a fox")).uploads
    platform.network.before = lambda request: (
        httpx.Response(200, headers={"content-length": "3", "content-type": "image/png"})
        if request.method == "HEAD"
        else None
    )
    with pytest.raises(JobFailedError, match="3 bytes of image/png instead of 4") as caught:
        platform.uploader.put(upload, b"data", content_type="image/png")
    assert caught.value.code is ErrorCode.UPLOAD_FAILED
    assert "Signature" not in f"{caught.value} {caught.value.hint}"


def test_a_store_that_begins_no_parts_is_done_without(platform: Platform) -> None:
    platform.settings = platform.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    job = platform.grant(Text2VideoInput(prompt="a red ball"))
    assert [upload.multipart for upload in job.uploads] == [None]
