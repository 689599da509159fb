"""Models from a hub into the real S3 server: whole, checked, resumed and replaced."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.hub import testing as hub_mirror
from pulumi_visgate.local.hub.testing import HubMirror
from pulumi_visgate.resources import _parts, _seed
from pulumi_visgate.resources._manifest import scan
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._seed import MARKER
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import S3Settings, Settings
from pulumi_visgate.resources.errors import HubError
from pulumi_visgate.resources.model_cache import ModelCacheCrud
from tests.engine.conftest import Stack, until
from tests.s3 import S3_KEY_ID, S3_SECRET
from visgate_worker.sources.search import Places, find_model

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
    monkeypatch.setattr(_parts, "PART_BYTES", PART)


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
    for text in (said, json.dumps(outs), objects(s3, bucket)[MANIFEST].decode()):
        assert TOKEN not in text

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
    assert (
        find_model(Places(volume=tmp_path / "half", cache=tmp_path / "cache"), MODEL, "v1").path.name == old
    )  # whole, and still the current one

    outs = seeded(settings, bucket, outs, revision="v2")
    holds(s3, bucket, new, second)
    assert set(hub.served) == {"model_index.json", WEIGHTS}
    _mount(s3, bucket, tmp_path / "done")
    for revision in (None, "v2", new):
        assert find_model(Places(volume=tmp_path / "done", cache=tmp_path / "cache"), MODEL, revision).path.name == new
    ModelCacheCrud(Session(settings)).delete("id", outs)
    assert objects(s3, bucket) == {}


def _mount(s3: "S3Client", bucket: str, volume: Path) -> None:
    for key, data in objects(s3, bucket).items():
        path = volume / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


SEEDING = """
import sys
from pydantic import SecretStr
from pulumi_visgate.resources import _parts
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import S3Settings, Settings
from pulumi_visgate.resources.model_cache import ModelCacheCrud
s3, hub, bucket, model, key, secret, part = sys.argv[1:]
_parts.PART_BYTES = int(part)
store = S3Settings(s3, "us-east-1", key, SecretStr(secret))
crud = ModelCacheCrud(Session(Settings(store=store, volume_store=store, hf_endpoint=hub)))
crud.create(crud.check({}, {"model_id": model, "bucket": bucket})[0])
"""


@pytest.mark.parametrize("seed", [1])
def test_killed_at_any_byte_it_goes_on_where_it_was(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str, seed: int
) -> None:
    chance = random.Random(seed)
    files = hub_mirror.model(4 * PART + 12_345)
    commit = hub.commit(MODEL, files)
    total = sum(len(files[path]) for path in CHOSEN)
    hub.faults.pause_s = 0.01
    arguments = [settings.store.endpoint or "", hub.url, bucket, MODEL, S3_KEY_ID, S3_SECRET, str(PART)]
    for _ in range(3):
        whole = _whole_files(s3, bucket, commit, files)
        hub.reset()
        at = chance.randrange(total)
        child = subprocess.Popen([sys.executable, "-c", SEEDING, *arguments])
        _kill_at(at, hub, child)
        assert not whole & set(hub.served)  # what is there is not fetched again
        assert hub.served.total() <= total + len(files["model_index.json"])

    hub.faults.pause_s = 0
    session = Session(settings)
    sent: list[str] = []
    session.store.meta.events.register("before-call.s3.UploadPart", lambda params, **_: sent.append(params["url"]))
    kept = sum(_stored_parts(s3, bucket).values())
    is_there = f"{ROOT}{commit}/{WEIGHTS}" in objects(s3, bucket)
    crud = ModelCacheCrud(session)
    crud.create(crud.check({}, {"model_id": MODEL, "bucket": bucket})[0])
    holds(s3, bucket, commit, files)
    assert len(sent) == (0 if is_there else 5 - kept)  # and what was sent is not sent again


def _kill_at(at: int, hub: HubMirror, child: "subprocess.Popen[bytes]") -> None:
    until(lambda: hub.served.total() >= at or child.poll() is not None, f"byte {at}")
    child.kill()
    child.wait(10)


def _whole_files(s3: "S3Client", bucket: str, commit: str, files: Any) -> set[str]:
    found = objects(s3, bucket)
    return {path for path in CHOSEN - {"model_index.json"} if found.get(f"{ROOT}{commit}/{path}") == files[path]}


def _stored_parts(s3: "S3Client", bucket: str) -> dict[str, int]:
    found = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return {
        item["Key"]: len(s3.list_parts(Bucket=bucket, Key=item["Key"], UploadId=item["UploadId"]).get("Parts", []))
        for item in found
    }


def test_a_broken_source_is_read_again_and_then_named(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str
) -> None:
    files = hub_mirror.model(2 * PART)
    commit = hub.commit(MODEL, files)
    hub.faults.corrupt, hub.faults.cut, hub.faults.stale = 2, 3, 1
    seeded(settings, bucket)
    holds(s3, bucket, commit, files)

    broken = hub.commit(MODEL, files | {WEIGHTS: files[WEIGHTS] + b"more"}, "broken")
    hub.faults.broken = WEIGHTS
    with pytest.raises(HubError, match=rf"{WEIGHTS} should have SHA-256 [0-9a-f]+ and has [0-9a-f]+ \(3 attempts\)"):
        seeded(settings, bucket, revision="broken")
    found = objects(s3, bucket)
    assert len([key for key in found if commit in key]) == len(CHOSEN)  # the former revision is as it was
    assert f"{ROOT}{broken}/{WEIGHTS}" not in found
    assert json.loads(found[MANIFEST])["commit"] == commit
    assert not [key for key in found if MARKER in key]
    assert uploads(s3, bucket) == []


def test_two_writers_of_one_revision_share_the_work(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str
) -> None:
    files = hub_mirror.model(2 * PART + 1)
    commit = hub.commit(MODEL, files)
    hub.faults.pause_s = 0.002
    _together(lambda: seeded(settings, bucket), lambda: seeded(settings, bucket))
    holds(s3, bucket, commit, files)


def test_of_two_revisions_written_at_once_one_is_current_and_whole(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str
) -> None:
    models = [hub_mirror.model(PART + 1, seed=seed) for seed in (1, 2)]
    commits = [hub.commit(MODEL, files, f"v{number}") for number, files in enumerate(models)]
    hub.faults.pause_s = 0.002
    _together(*(partial(seeded, settings, bucket, revision=f"v{number}") for number in (0, 1)))
    crud = ModelCacheCrud(Session(settings))
    inputs, _ = crud.check({}, {"model_id": MODEL, "bucket": bucket, "revision": "v0"})
    found = crud.read("id", inputs)
    assert found is not None
    assert found.inputs["digest"] != "incomplete"
    seeded(settings, bucket, {**found.outs, "revision": "other"}, revision="v0")
    holds(s3, bucket, commits[0], models[0])


def _together(*writers: Any) -> None:
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(writer) for writer in writers]:
            done.result()


def test_what_an_abandoned_revision_left_goes_with_the_next_one(
    settings: Settings, s3: "S3Client", hub: HubMirror, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = hub_mirror.model()
    commit = hub.commit(MODEL, files)
    abandoned = f"{ROOT}{'a' * 40}/{WEIGHTS}"
    s3.create_multipart_upload(Bucket=bucket, Key=abandoned)
    for key in (f"{ROOT}{MARKER}{'a' * 40}", f"{ROOT}{'a' * 40}/vae/config.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    outs = seeded(settings, bucket)
    assert uploads(s3, bucket) == [abandoned]  # whoever wrote the marker may still be at work
    monkeypatch.setattr(_seed, "ALIVE", timedelta(minutes=-1))
    ModelCacheCrud(Session(settings)).update("id", outs, outs)
    holds(s3, bucket, commit, files)


def test_a_cache_of_the_old_layout_moves_inside_the_store(
    settings: Settings, s3: "S3Client", bucket: str, model_folder: Path
) -> None:
    crud = ModelCacheCrud(Session(settings))
    given = {"model_id": MODEL, "bucket": bucket, "source": str(model_folder)}
    inputs, problems = crud.check({}, given)
    assert problems == []
    manifest = scan(model_folder, MODEL)
    for path in manifest.files:
        s3.put_object(Bucket=bucket, Key=ROOT + path, Body=(model_folder / path).read_bytes())
    files = {path: file.model_dump(exclude_none=True) for path, file in manifest.files.items()}
    s3.put_object(Bucket=bucket, Key=MANIFEST, Body=json.dumps({"model_id": MODEL, "files": files}).encode())
    olds = {**inputs, "prefix": ROOT, "file_count": 2, "size_bytes": manifest.size}
    found = crud.read("id", olds)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ()  # nothing moves as long as nothing changes

    (model_folder / "model_index.json").write_text('{"changed": true}')
    news, _ = crud.check(found.inputs, given)
    sent: list[str] = []
    crud.session.store.meta.events.register("before-call.s3.PutObject", lambda params, **_: sent.append(params["url"]))
    outs = crud.update("id", found.outs, news)
    assert set(objects(s3, bucket)) == {MANIFEST, *(outs["path"] + path for path in manifest.files)}
    assert not [url for url in sent if "weights" in url]


PROGRAM = """
import os
from pulumi_visgate import ModelCache, NetworkVolume
volume = NetworkVolume("models", size_gb=10, data_center="EU-RO-1")
ModelCache("tiny", model_id="acme/tiny", revision=os.environ["REVISION"], volume_id=volume.id, data_center="EU-RO-1")
"""


def test_the_engine_shows_the_commit_and_keeps_no_token(stack: Stack, hub: HubMirror) -> None:
    old, new = (hub.commit(MODEL, hub_mirror.model(seed=seed), f"v{seed}") for seed in (1, 2))
    stack.write(PROGRAM)
    env: dict[str, Any] = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    said = [stack.up(REVISION="v1", **env).text]
    assert old in said[0]
    assert "tiny: " in said[0]  # what was done
    hub.reset()
    assert "unchanged" in stack.run("up", "--yes", "--skip-preview", "--expect-no-changes", REVISION="v1", **env).text
    assert not hub.requests
    said.append(stack.preview(REVISION="v2", **env).text)
    assert new in said[1]
    assert "1 to update" in said[1]
    for text in (*said, stack.exported()):
        assert TOKEN not in text
    hub.gate(MODEL, TOKEN)
    hub.commit(MODEL, hub_mirror.model(seed=3), "v3")
    refused = stack.preview(ok=False, REVISION="v3", **(env | {"HF_TOKEN": ""}))
    assert refused.code != 0
    assert "acme/tiny is gated on the hub" in refused.text
