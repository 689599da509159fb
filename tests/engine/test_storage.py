"""Buckets and model caches against the real S3 server, without the engine between."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.resources._s3 import object_sizes, s3_client
from pulumi_visgate.resources._seed import MARKER
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import S3Settings, Settings
from pulumi_visgate.resources.bucket import BucketCrud
from pulumi_visgate.resources.errors import InUse, NameTaken, StoreError
from pulumi_visgate.resources.model_cache import ModelCacheCrud
from tests.s3 import S3_KEY_ID, S3_SECRET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.engine


@pytest.fixture
def settings(s3_endpoint: str) -> Settings:
    store = S3Settings(s3_endpoint, "us-east-1", S3_KEY_ID, SecretStr(S3_SECRET))
    return Settings(runpod_api_key=SecretStr("rpa_STORAGETESTSTORAGETEST"), store=store, volume_store=store)


@pytest.fixture
def s3(settings: Settings) -> "S3Client":
    return s3_client(settings.store)


def bucket(crud: BucketCrud, **inputs: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {"owner": f"p/s/{inputs.pop('called', 'pictures')}", **inputs})
    assert problems == []
    return values


def test_options_are_set_read_and_taken_back(settings: Settings) -> None:
    crud = BucketCrud(Session(settings))
    inputs = bucket(crud, public_read=True, force_destroy=True)
    id_, outs = crud.create(inputs)
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs == inputs
    assert crud.diff(found.outs, inputs).changed == ()

    private = bucket(crud, force_destroy=True)
    outs = crud.update(id_, outs, private)
    found = crud.read(id_, outs)
    assert found is not None
    assert "public_read" not in found.inputs
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None
    crud.delete(id_, outs)


def test_tags_are_set_beside_those_of_others_read_and_repaired(settings: Settings, s3: "S3Client") -> None:
    def stored() -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=id_)["TagSet"]}

    def put(**tags: str) -> None:
        s3.put_bucket_tagging(
            Bucket=id_, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        )

    crud = BucketCrud(Session(settings))
    inputs = bucket(crud, called="tagged", tags={"team": "pictures", "floor": 3.0})
    id_, outs = crud.create(inputs)
    assert stored() == {"team": "pictures", "floor": "3"}

    put(team="pictures", floor="3", cloud="its own")
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs == inputs
    assert crud.diff(found.outs, inputs).changed == ()

    put(team="films", cloud="its own")
    found = crud.read(id_, outs)
    assert found is not None
    assert found.outs["tags"] == {"team": "films"}
    assert crud.diff(found.outs, inputs).changed == ("tags",)
    outs = crud.update(id_, found.outs, inputs)
    assert stored() == {"team": "pictures", "floor": "3", "cloud": "its own"}

    outs = crud.update(id_, outs, bucket(crud, called="tagged", tags={"team": "pictures"}))
    assert stored() == {"team": "pictures", "cloud": "its own"}
    outs = crud.update(id_, outs, bucket(crud, called="tagged"))
    assert stored() == {"cloud": "its own"}
    crud.delete(id_, outs)


def test_an_option_that_the_store_does_not_have_leaves_no_bucket(settings: Settings, s3: "S3Client") -> None:
    crud = BucketCrud(Session(settings))
    inputs = bucket(crud, called="expiring", expire_after_days=7)
    with pytest.raises(StoreError, match="expire_after_days: this S3 store does not support it"):
        crud.create(inputs)
    assert inputs["name"] not in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def test_objects_are_only_deleted_when_the_program_allows_it(settings: Settings, s3: "S3Client") -> None:
    crud = BucketCrud(Session(settings))
    inputs = bucket(crud, called="full")
    id_, outs = crud.create(inputs)
    s3.put_object(Bucket=id_, Key="a/picture.png", Body=b"x")
    with pytest.raises(InUse, match="holds 1 objects"):
        crud.delete(id_, outs)
    crud.delete(id_, crud.update(id_, outs, bucket(crud, called="full", force_destroy=True)))
    assert crud.read(id_, outs) is None


def test_an_interrupted_bucket_is_found_again_and_a_foreign_one_is_not_taken(settings: Settings) -> None:
    crud = BucketCrud(Session(settings))
    inputs = bucket(crud, called="half", force_destroy=True)
    crud.create(inputs)
    assert BucketCrud(Session(settings)).create(inputs)[0] == inputs["name"]
    foreign = bucket(crud, called="other", name=inputs["name"])
    with pytest.raises(NameTaken, match="adopt=True"):
        BucketCrud(Session(settings)).create(foreign)
    BucketCrud(Session(settings)).delete(inputs["name"], inputs)


def test_a_model_is_uploaded_once_and_then_only_what_changed(
    settings: Settings, s3: "S3Client", model_folder: Path
) -> None:
    home = "model-home"
    s3.create_bucket(Bucket=home)
    crud = ModelCacheCrud(Session(settings))
    uploaded: list[str] = []
    crud.session.store.meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: uploaded.append(params["url"])
    )

    def names() -> list[str]:
        done = [url.rsplit("/", 1)[1] for url in uploaded if MARKER not in url]
        uploaded.clear()
        return sorted(done)

    def checked() -> dict[str, Any]:
        given = {"model_id": "acme/tiny", "source": str(model_folder), "bucket": home}
        values, problems = crud.check({}, given)
        assert problems == []
        return values

    inputs = checked()
    folder = f"models/acme/tiny/{inputs['digest'][:40]}/"
    id_, outs = crud.create(inputs)
    assert names() == [".visgate-manifest.json", "model_index.json", "weights.safetensors"]
    found = crud.read(id_, outs)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ()
    crud.create(inputs)
    assert names() == []

    # An interrupted upload: no manifest, one file missing, one file that is no part of the model.
    s3.delete_object(Bucket=home, Key="models/acme/tiny/.visgate-manifest.json")
    s3.delete_object(Bucket=home, Key=f"{folder}model_index.json")
    s3.put_object(Bucket=home, Key="models/acme/tiny/stale.bin", Body=b"x")
    found = crud.read(id_, outs)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ("digest",)
    crud.update(id_, found.outs, inputs)
    assert names() == [".visgate-manifest.json", "model_index.json"]
    assert set(object_sizes(s3, home)) == {
        "models/acme/tiny/.visgate-manifest.json",
        f"{folder}model_index.json",
        f"{folder}unet/weights.safetensors",
    }

    (model_folder / "unet" / "weights.safetensors").write_bytes(b"\x03" * 10_000)
    news = checked()
    assert crud.diff(outs, news).changed == ("digest",)
    crud.update(id_, outs, news)
    assert names() == [".visgate-manifest.json", "weights.safetensors"]  # the other file is copied inside the store

    crud.delete(id_, {**outs, "retain": True})
    assert object_sizes(s3, home) != {}
    crud.delete(id_, outs)
    assert object_sizes(s3, home) == {}
    assert crud.read(id_, outs) is None
    s3.delete_bucket(Bucket=home)
    assert crud.read(id_, outs) is None
    crud.delete(id_, outs)


def test_a_model_that_changes_under_way_and_a_silent_store_are_told(settings: Settings, model_folder: Path) -> None:
    crud = ModelCacheCrud(Session(settings))
    inputs = {"model_id": "acme/tiny", "source": str(model_folder), "bucket": "nowhere", "digest": "another"}
    with pytest.raises(StoreError, match="has changed since the preview"):
        crud.create(inputs)
    values, _ = crud.check({}, inputs)
    with pytest.raises(StoreError, match="NoSuchBucket"):
        crud.create(values)

    dead = S3Settings("http://127.0.0.1:9", "us-east-1", "id", SecretStr(S3_SECRET))
    silent = BucketCrud(Session(Settings(store=dead)))
    with pytest.raises(StoreError, match="did not answer while looking for bucket x1y") as raised:
        silent.create({"name": "x1y"})
    assert S3_SECRET not in str(raised.value)
