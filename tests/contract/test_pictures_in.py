"""A caller's own picture on its way to a job: granted by the gateway, kept by a real S3 server, read by the worker."""

import asyncio
import io
from collections.abc import Iterator

import boto3
import httpx
import pytest
from PIL import Image

from pulumi_visgate.gateway.services.pictures_in import GrantedPicture, PicturesIn
from pulumi_visgate.gateway.services.store import ArtifactStore
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from tests import s3
from visgate_contract.addresses import EgressPolicy
from visgate_contract.tasks import ImageFormat
from visgate_worker.inputs import ImageInputs

pytestmark = pytest.mark.contract

BUCKET = "artifacts"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    root = tmp_path_factory.mktemp("s3")
    for name in ("buckets", "metadata"):
        (root / name).mkdir()
    with s3.s3_server(root / "buckets", root / "metadata") as address:
        store = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=s3.S3_KEY_ID,
            aws_secret_access_key=s3.S3_SECRET,
        )
        store.create_bucket(Bucket=BUCKET)
        yield Settings.model_validate(
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


@pytest.fixture(scope="module")
def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(buffer, format="PNG")
    return buffer.getvalue()


def granted(settings: Settings, size_bytes: int) -> GrantedPicture:
    async def grant() -> GrantedPicture:
        async with httpx.AsyncClient() as client:
            pictures = PicturesIn(settings, ArtifactStore(settings, client))
            return await pictures.grant(user_hash="ab" * 32, kind=ImageFormat.PNG, size_bytes=size_bytes)

    return asyncio.run(grant())


def test_what_a_caller_stores_is_what_the_worker_begins_from(settings: Settings, picture: bytes) -> None:
    leave = granted(settings, len(picture))
    assert httpx.put(leave.put_url, content=picture, headers=leave.headers).status_code == 200
    worker = ImageInputs(EgressPolicy(allow_loopback=True))
    try:
        seen = worker.load(leave.url)
    finally:
        worker.close()
    assert (seen.size, seen.getpixel((48, 32))) == ((96, 64), (255, 0, 0))


def test_nothing_larger_and_nothing_else_is_taken(settings: Settings, picture: bytes) -> None:
    leave = granted(settings, len(picture))
    kind = {"Content-Type": "image/png"}
    assert httpx.put(leave.put_url, content=picture + b"x", headers=kind).status_code == 403
    assert httpx.put(leave.put_url, content=picture, headers={"Content-Type": "text/html"}).status_code == 403
    other = leave.put_url.replace("/in/", "/out/")
    assert httpx.put(other, content=picture, headers=kind).status_code == 403
    assert httpx.put(leave.url, content=picture, headers=kind).status_code == 403
    assert httpx.get(leave.url).status_code in {403, 404}
