import json
from pathlib import Path

import pytest

from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.hub import Hub
from visgate_worker.sources.search import Places
from visgate_worker.sources.search import find_model as find_in


def put(folder: Path, content: object = None) -> Path:
    folder.mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content or {"_class_name": "StableDiffusionPipeline"})
    (folder / "model_index.json").write_text(text)
    return folder


def find_model(volume: Path, model_id: str, revision: str | None = None) -> ModelFolder:
    return find_in(Places(volume=volume, cache=volume / "cache"), model_id, revision)


@pytest.fixture(autouse=True)
def hub_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the hub, which has nothing."""
    calls: list[str] = []

    def download(_self: Hub, model_id: str, *_: object, **__: object) -> None:
        calls.append(model_id)

    monkeypatch.setattr(Hub, "download", download)
    return calls


def test_the_hub_cache_of_the_volume_comes_first_as_runpods_model_cache_lies_there(
    tmp_path: Path, hub_calls: list[str]
) -> None:
    snapshot = put(tmp_path / "huggingface-cache/hub/models--org--name/snapshots/abc")
    put(tmp_path / "models/org/name")
    assert find_model(tmp_path, "org/name") == ModelFolder(snapshot, "model_cache")
    assert hub_calls == []


def test_the_folder_on_the_volume_comes_next(tmp_path: Path, hub_calls: list[str]) -> None:
    folder = put(tmp_path / "models/org/name")
    assert find_model(tmp_path, "org/name") == ModelFolder(folder, "volume")
    assert hub_calls == []


def test_the_hub_cache_is_read_by_the_branch(tmp_path: Path, hub_calls: list[str]) -> None:
    cache = tmp_path / "huggingface-cache/hub/models--org--name"
    put(cache / "snapshots/zzz")
    wanted = put(cache / "snapshots/abc")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("abc")
    assert find_model(tmp_path, "org/name").path == wanted
    assert hub_calls == []


def test_the_manifest_says_which_commit_is_meant_and_the_hub_cache_may_have_it(tmp_path: Path) -> None:
    root = tmp_path / "models/org/name"
    old, new = (tmp_path / f"huggingface-cache/hub/models--org--name/snapshots/{name}" for name in ("old", "new"))
    put(old)
    seeded = put(root / "new")
    manifest(root, folder="new", commit="new")
    assert find_model(tmp_path, "org/name") == ModelFolder(seeded, "volume")
    put(new)
    assert find_model(tmp_path, "org/name") == ModelFolder(new, "model_cache")


def test_a_worker_without_a_volume_finds_what_it_kept_on_its_own_disk(tmp_path: Path) -> None:
    kept = put(tmp_path / "cache/models/org/name")
    assert find_model(tmp_path, "org/name").path == kept


def test_a_cache_without_branches_gives_a_snapshot(tmp_path: Path) -> None:
    wanted = put(tmp_path / "huggingface-cache/hub/models--org--name/snapshots/abc")
    assert find_model(tmp_path, "org/name").path == wanted


def test_a_revision_is_never_answered_with_another(tmp_path: Path, hub_calls: list[str]) -> None:
    put(tmp_path / "models/org/name")
    cache = tmp_path / "huggingface-cache/hub/models--org--name"
    put(cache / "snapshots/abc")
    with pytest.raises(JobFailedError, match="org/name at revision v2"):
        find_model(tmp_path, "org/name", "v2")
    assert hub_calls == ["org/name"]
    wanted = put(cache / "snapshots/v2")
    assert find_model(tmp_path, "org/name", "v2").path == wanted
    put(tmp_path / "models/org/name/v2")
    (wanted / "model_index.json").unlink()
    assert find_model(tmp_path, "org/name", "v2").path == tmp_path / "models/org/name/v2"


def manifest(root: Path, **head: str) -> None:
    (root / ".visgate-manifest.json").write_text(json.dumps({"model_id": "org/name", "files": {}, **head}))


def test_the_manifest_names_the_folder_of_the_current_revision(tmp_path: Path, hub_calls: list[str]) -> None:
    root = tmp_path / "models/org/name"
    old, new = put(root / "0ld"), put(root / "1ew-fp16")
    manifest(root, folder="1ew-fp16", revision="main", commit="1ew")
    for revision in (None, "main", "1ew"):
        assert find_model(tmp_path, "org/name", revision).path == new
    assert find_model(tmp_path, "org/name", "0ld").path == old
    with pytest.raises(JobFailedError):
        find_model(tmp_path, "org/name", "v3")
    assert hub_calls == ["org/name"]


def test_a_manifest_beside_the_files_is_that_of_an_older_cache(tmp_path: Path, hub_calls: list[str]) -> None:
    root = put(tmp_path / "models/org/name")
    manifest(root)
    assert find_model(tmp_path, "org/name").path == root
    with pytest.raises(JobFailedError):
        find_model(tmp_path, "org/name", "v1")  # nobody knows which revision it is
    assert hub_calls == ["org/name"]


@pytest.mark.parametrize("head", [{"folder": "../../other/name"}, {"folder": "gone"}])
def test_a_manifest_that_leads_nowhere_is_passed_over(
    tmp_path: Path, hub_calls: list[str], head: dict[str, str]
) -> None:
    root = put(tmp_path / "models/org/name")
    put(tmp_path / "models/other/name")
    manifest(root, **head)
    assert find_model(tmp_path, "org/name").path == root
    (root / ".visgate-manifest.json").write_text("not json")
    assert find_model(tmp_path, "org/name").path == root
    assert hub_calls == []


def test_a_model_that_is_nowhere_is_named_with_the_places(tmp_path: Path, hub_calls: list[str]) -> None:
    with pytest.raises(JobFailedError, match=r"org/name .*network volume.*hub") as caught:
        find_model(tmp_path / "absent", "org/name")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    assert caught.value.hint


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_a_copy_that_is_not_whole_is_named_when_no_other_place_has_the_model(tmp_path: Path, content: str) -> None:
    folder = put(tmp_path / "models/org/name", content)
    with pytest.raises(
        JobFailedError, match=r"not whole: model_index\.json .* Neither the model store nor the"
    ) as caught:
        find_model(tmp_path, "org/name")
    assert str(folder) not in caught.value.detail
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_a_broken_index_is_a_load_failure(tmp_path: Path, content: str) -> None:
    folder = ModelFolder(put(tmp_path / "model", content), "volume")
    with pytest.raises(JobFailedError, match=r"model_index\.json") as caught:
        folder.index()
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_the_size_counts_linked_files_as_in_a_hub_cache(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"x" * 1000)
    folder = tmp_path / "snapshot"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet/weights").symlink_to(blob)
    (folder / "model_index.json").write_text("{}")
    assert ModelFolder(folder, "volume").size_bytes() == 1002
