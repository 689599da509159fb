import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tests.unit.worker.sources.conftest import MODEL_ID, content, model_files, put_model
from visgate_contract.caches import MANIFEST_NAME, model_prefix
from visgate_contract.errors import ErrorCode
from visgate_contract.events import LoadProgress
from visgate_worker.failures import JobFailedError
from visgate_worker.sources import fill, hub, partial
from visgate_worker.sources.fill import StoreOrigin
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.hub import Hub
from visgate_worker.sources.search import Places, find_model
from visgate_worker.sources.store import ModelStore, StoreError

if TYPE_CHECKING:
    from tests.unit.worker.sources.conftest import StoreServer

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TOKEN = SecretStr("canary-of-a-model-token")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "download", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "PART_BYTES", 300)
    monkeypatch.setattr("visgate_worker.sources.store.ATTEMPTS", 3)


def places(volume: Path, server: "StoreServer", *, digests: bool = False) -> Places:
    return Places(volume=volume, cache=volume / "cache", store_url=server.url, store_token=TOKEN, digests=digests)


def test_a_model_comes_from_the_store_in_ranges_and_is_kept_on_the_volume(
    tmp_path: Path, store_server: "StoreServer"
) -> None:
    files = model_files()
    manifest = store_server.put(files)
    told: list[LoadProgress] = []
    found = find_model(places(tmp_path, store_server), MODEL_ID, report=told.append)
    assert (found.source, found.fetched_bytes, found.repaired_files) == ("s3", manifest.size, 0)
    assert content(found.path) == files
    assert told[-1] == LoadProgress(source="s3", done_bytes=manifest.size, total_bytes=manifest.size)
    root = tmp_path / model_prefix(MODEL_ID)
    assert sorted(path.name for path in root.iterdir()) == [MANIFEST_NAME, "rev1"]
    near = find_model(places(tmp_path, store_server), MODEL_ID)
    assert (near.path, near.source) == (found.path, "volume")
    # Each file's place is asked for a few times at most, and the token is for the first host alone.
    asked = [path for path, _ in store_server.asked if path.endswith(WEIGHTS)]
    assert store_server.served[f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}"] == len(files[WEIGHTS])
    assert 1 <= len(asked) <= 5
    assert {token for _, token in store_server.asked} == {f"Bearer {TOKEN.get_secret_value()}"}


def test_without_a_volume_the_machines_own_disk_keeps_it(tmp_path: Path, store_server: "StoreServer") -> None:
    store_server.put(model_files())
    found = find_model(places(tmp_path / "absent", store_server), MODEL_ID)
    assert found.path == tmp_path / "absent/cache" / model_prefix(MODEL_ID) / "rev1"


def test_cut_expired_and_damaged_answers_are_made_good(tmp_path: Path, store_server: "StoreServer") -> None:
    files = model_files()
    store_server.put(files)
    store_server.cut, store_server.corrupt = 2, 1
    found = find_model(places(tmp_path, store_server), MODEL_ID)
    assert content(found.path) == files
    shutil.rmtree(tmp_path / "models")
    store = ModelStore(store_server.url, TOKEN, first_wait_s=0)
    got = bytearray()
    key = f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}"
    store.read(key, 0, 10, lambda _offset, data: got.extend(data))
    store_server.expired = 1
    store.read(key, 10, 10, lambda _offset, data: got.extend(data))
    store.close()
    assert bytes(got) == files[WEIGHTS][:20]


def test_a_store_that_keeps_sending_something_else_leaves_nothing_that_looks_like_a_model(
    tmp_path: Path, store_server: "StoreServer"
) -> None:
    manifest = store_server.put(model_files())
    store_server.files[f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}"] = b"y" * manifest.files[WEIGHTS].size
    store = ModelStore(store_server.url, TOKEN)
    with pytest.raises(StoreError, match=rf"{WEIGHTS} .*another content than its manifest says"):
        fill.fill(tmp_path, manifest, StoreOrigin(store, manifest), on_bytes=lambda _: None)
    store.close()
    assert not (tmp_path / MANIFEST_NAME).exists()
    assert not (tmp_path / "rev1" / WEIGHTS).exists()
    assert not (tmp_path / fill.LEASE).exists()


@pytest.mark.parametrize("status", [404, 403])
def test_a_store_without_the_model_is_passed_over(tmp_path: Path, store_server: "StoreServer", status: int) -> None:
    store_server.status = status
    with pytest.raises(JobFailedError, match="in the model store") as caught:
        find_model(places(tmp_path, store_server), MODEL_ID)
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND


def test_another_revision_of_the_store_is_not_taken(tmp_path: Path, store_server: "StoreServer") -> None:
    store_server.put(model_files(), revision="v1")
    with pytest.raises(JobFailedError):
        find_model(places(tmp_path, store_server), MODEL_ID, "v2")
    assert find_model(places(tmp_path, store_server), MODEL_ID, "v1").source == "s3"


def test_a_store_that_knows_no_ranges_is_an_error_that_says_so(store_server: "StoreServer") -> None:
    store_server.put(model_files())
    store_server.whole = True
    store = ModelStore(store_server.url, TOKEN)
    with pytest.raises(StoreError, match="cannot be read in ranges"):
        store.read(f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}", 0, 10, lambda _offset, _data: None)
    store.close()


@pytest.mark.parametrize("fault", ["expired", "cut"])
def test_no_error_of_the_store_holds_a_token_or_a_signed_link(store_server: "StoreServer", fault: str) -> None:
    store_server.put(model_files())
    store = ModelStore(store_server.url, TOKEN, first_wait_s=0)
    key = f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}"
    store.read(key, 0, 1, lambda _offset, _data: None)
    setattr(store_server, fault, 1000)
    with pytest.raises(StoreError, match="status 403" if fault == "expired" else "could not be read") as caught:
        store.read(key, 0, 1, lambda _offset, _data: None)
    store.close()
    said = repr(caught.value) + str(caught.value) + repr(caught.value.__cause__) + repr(store)
    assert "canary" not in said


def test_a_full_disk_is_told_before_anything_is_fetched(
    tmp_path: Path, store_server: "StoreServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = store_server.put(model_files())
    monkeypatch.setattr(fill, "SPARE_BYTES", 1 << 60)
    store = ModelStore(store_server.url, TOKEN)
    with pytest.raises(JobFailedError, match=r"needs 0\.0 GB more, and .* GB free"):
        fill.fill(tmp_path, manifest, StoreOrigin(store, manifest), on_bytes=lambda _: None)
    store.close()
    assert store_server.served.total() == 0


@pytest.mark.parametrize("harm", ["missing", "cut", "wrong"])
def test_a_broken_copy_on_the_volume_is_repaired_from_the_store(
    tmp_path: Path, store_server: "StoreServer", harm: str
) -> None:
    files = model_files()
    store_server.put(files)
    folder = put_model(tmp_path, files)
    if harm == "missing":
        (folder / WEIGHTS).unlink()
    else:
        (folder / WEIGHTS).write_bytes(b"x" * (len(files[WEIGHTS]) - (harm == "cut")))
    found = find_model(places(tmp_path, store_server, digests=harm == "wrong"), MODEL_ID)
    assert found == ModelFolder(folder, "volume", len(files[WEIGHTS]), found.fetch_s, 1)
    assert content(folder) == files
    assert set(store_server.served) == {f"{model_prefix(MODEL_ID)}rev1/{WEIGHTS}"}


def test_what_cannot_be_repaired_is_passed_over_for_a_whole_copy_further_out(
    tmp_path: Path, store_server: "StoreServer"
) -> None:
    folder = put_model(tmp_path, model_files(), commit=None, folder="old")
    (folder / WEIGHTS).unlink()
    newer = model_files(500)
    store_server.put(newer, folder="new")
    found = find_model(places(tmp_path, store_server), MODEL_ID)
    assert (found.source, content(found.path)) == ("s3", newer)


def test_a_damaged_hub_cache_is_cleared_of_what_is_damaged(tmp_path: Path, store_server: "StoreServer") -> None:
    files = model_files()
    snapshot = hub.repository_of(hub.cache_of(tmp_path), MODEL_ID) / "snapshots/abc"
    for path, data in files.items():
        blob = snapshot.parents[1] / "blobs" / path.replace("/", "-")
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data[:-1] if path == WEIGHTS else data)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(blob)
    store_server.put(files)
    assert find_model(places(tmp_path, store_server), MODEL_ID).source == "s3"
    assert not (snapshot / WEIGHTS).is_symlink()
    assert (snapshot / "vae/config.json").is_file()
