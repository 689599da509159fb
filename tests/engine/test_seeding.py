"""Models from a hub into the real S3 server: whole, checked, resumed and replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.resources import _transfer
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import S3Settings, Settings
from pulumi_visgate.resources.errors import HubError
from pulumi_visgate.resources.model_cache import ModelCacheCrud
from tests import hub_mirror
from tests.engine.conftest import S3_KEY_ID, S3_SECRET
from tests.hub_mirror import HubMirror
from visgate_worker.sources import find_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.engine

MODEL = "acme/tiny"
ROOT = f"models/{MODEL}/"
MANIFEST = f"{ROOT}.visgate-manifest.json"
CHOSEN = {
    "LICENSE.md",
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PART = 5 << 20  # the least that the S3 server takes
TOKEN = "hf_CANARYcanaryCANARYcanary"


@pytest.fixture
def hub() -> Iterator[HubMirror]:
    with hub_mirror.serve() as running:
        yield running


@pytest.fixture
def settings(s3_endpoint: str, hub: HubMirror) -> Settings:
    store = S3Settings(s3_endpoint, "us-east-1", S3_KEY_ID, SecretStr(S3_SECRET))
    return Settings(store=store, volume_store=store, hf_endpoint=hub.url, hf_token=SecretStr(TOKEN))


@pytest.fixture
def s3(settings: Settings) -> "S3Client":
    return s3_client(settings.store)


@pytest.fixture
def bucket(s3: "S3Client", request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"seed-{abs(hash(request.node.name)) % 10**8}"
    s3.create_bucket(Bucket=name)
    yield name
    for key in objects(s3, name):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transfer, "PART_BYTES", PART)


class Heard:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def warn(self, text: str) -> None:
        self.said.append(("warn", text))

    def note(self, text: str) -> None:
        self.said.append(("note", text))

    def status(self, text: str) -> None:
        self.said.append(("status", text))


def objects(s3: "S3Client", bucket: str) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


def uploads(s3: "S3Client", bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def seeded(settings: Settings, bucket: str, olds: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """Do what the engine does for a new resource, or for a changed one."""
    crud = ModelCacheCrud(Session(settings))
    inputs, problems = crud.check(olds or {}, {"model_id": MODEL, "bucket": bucket, **given})
    assert problems == []
    if olds is None:
        return crud.create(inputs)[1]
    assert crud.diff(olds, inputs).changed
    return crud.update("id", olds, inputs)


def holds(s3: "S3Client", bucket: str, folder: str, files: Any) -> None:
    """Assert that a bucket holds one whole revision and nothing else."""
    found = objects(s3, bucket)
    assert {key: found[key] for key in found if key != MANIFEST} == {
        f"{ROOT}{folder}/{path}": data for path, data in files.items() if path in CHOSEN
    }
    assert MANIFEST in found
    assert uploads(s3, bucket) == []


def test_a_model_comes_from_the_hub_once_and_the_next_run_asks_nobody(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str
) -> None:
    files = hub_mirror.model(3 * PART + 77)
    commit = hub.commit(MODEL, files)
    session = Session(settings)
    session.report = heard = Heard()
    crud = ModelCacheCrud(session)
    inputs, _ = crud.check({}, {"model_id": MODEL, "bucket": bucket})
    assert inputs["commit"] == commit
    id_, outs = crud.create(inputs)
    holds(s3, bucket, commit, files)
    assert outs["file_count"] == len(CHOSEN)
    assert outs["path"] == f"{ROOT}{commit}/"
    assert hub.requests["metadata"] == 1
    assert ("files", f"Bearer {TOKEN}") not in hub.keys  # the second origin is told no secret
    assert ("hub", f"Bearer {TOKEN}") in hub.keys
    [(kind, said)] = heard.said
    assert kind == "note"
    assert "in 6 files" in said

    hub.reset()
    found = crud.read(id_, outs)
    assert found is not None
    again, problems = ModelCacheCrud(Session(settings)).check(found.inputs, {"model_id": MODEL, "bucket": bucket})
    assert problems == []
    assert crud.diff(found.outs, again).changed == ()
    crud.create(inputs)  # a killed engine has not written down that it is there
    assert hub.served.total() == 0 or set(hub.served) == {"model_index.json"}


def test_lost_and_cut_files_are_seen_and_repaired(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str
) -> None:
    files = hub_mirror.model()
    commit = hub.commit(MODEL, files)
    outs = seeded(settings, bucket)
    s3.delete_object(Bucket=bucket, Key=f"{ROOT}{commit}/vae/config.json")
    s3.put_object(Bucket=bucket, Key=f"{ROOT}{commit}/{WEIGHTS}", Body=b"cut")
    found = ModelCacheCrud(Session(settings)).read("id", outs)
    assert found is not None
    assert found.inputs["digest"] == "incomplete"
    hub.reset()
    seeded(settings, bucket, found.outs)
    holds(s3, bucket, commit, files)
    assert set(hub.served) == {"model_index.json", "vae/config.json", WEIGHTS}


def test_another_revision_copies_what_is_equal_and_the_former_one_goes_last(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str, tmp_path: Path
) -> None:
    first = hub_mirror.model(PART + 1)
    old = hub.commit(MODEL, first, "v1")
    outs = seeded(settings, bucket, revision="v1")
    second = first | {WEIGHTS: hub_mirror.model(PART + 1, seed=2)[WEIGHTS]}
    new = hub.commit(MODEL, second, "v2")
    hub.reset()
    hub.faults.refuse = (404, 1)
    with pytest.raises(HubError, match="answered 404"):
        seeded(settings, bucket, outs, revision="v2")
    _mount(s3, bucket, tmp_path / "half")
    assert find_model(tmp_path / "half", MODEL, "v1").path.name == old  # whole, and still the current one

    outs = seeded(settings, bucket, outs, revision="v2")
    holds(s3, bucket, new, second)
    assert set(hub.served) == {"model_index.json", WEIGHTS}
    _mount(s3, bucket, tmp_path / "done")
    for revision in (None, "v2", new):
        assert find_model(tmp_path / "done", MODEL, revision).path.name == new
    ModelCacheCrud(Session(settings)).delete("id", outs)
    assert objects(s3, bucket) == {}


def _mount(s3: "S3Client", bucket: str, volume: Path) -> None:
    for key, data in objects(s3, bucket).items():
        path = volume / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
