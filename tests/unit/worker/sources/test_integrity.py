import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.unit.worker.sources.conftest import manifest_of, model_files, put_files, safetensors
from visgate_worker.sources.integrity import flaws_by_blobs, flaws_by_manifest, flaws_by_structure

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def test_a_whole_model_has_no_flaws(tmp_path: Path) -> None:
    files = model_files()
    folder = put_files(tmp_path / "model", files)
    assert flaws_by_structure(folder) == []
    assert flaws_by_manifest(folder, manifest_of(files), digests=True) == []


def test_the_manifest_tells_missing_and_cut_files_and_with_digests_wrong_ones(tmp_path: Path) -> None:
    files = model_files()
    folder = put_files(tmp_path / "model", files)
    (folder / "unet/config.json").unlink()
    (folder / "vae/config.json").write_text("{ }")
    (folder / WEIGHTS).write_bytes(files[WEIGHTS][:-1] + b"x")
    sizes = {str(flaw) for flaw in flaws_by_manifest(folder, manifest_of(files))}
    assert sizes == {"unet/config.json is missing", "vae/config.json has 3 bytes of 2"}
    all_of_them = {str(flaw) for flaw in flaws_by_manifest(folder, manifest_of(files), digests=True)}
    assert all_of_them - sizes == {f"{WEIGHTS} has another content than its manifest says"}


def test_real_models_are_whole(tiny_volume: Path) -> None:
    assert flaws_by_structure(tiny_volume / "models/visgate/tiny") == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json is missing or cannot be read"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer is missing"),
        (lambda folder: (folder / WEIGHTS).unlink(), "unet has no weights"),
        (lambda folder: (folder / "unet/config.json").unlink(), "unet/config.json is missing"),
        (lambda folder: (folder / WEIGHTS).write_bytes(safetensors(1000)[:-1]), f"{WEIGHTS} is cut or damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(safetensors(1000) + b"x"), f"{WEIGHTS} is cut or damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), f"{WEIGHTS} is cut or damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 100), f"{WEIGHTS} is cut or damaged"),
        (lambda folder: (folder / "vae/config.json").unlink(), "vae/config.json is missing"),
    ],
)
def test_the_structure_tells_what_a_killed_copy_left_out(tmp_path: Path, harm: object, said: str) -> None:
    folder = put_files(tmp_path / "model", model_files())
    harm(folder)  # type: ignore[operator]  # a lambda of the list above
    assert [str(flaw) for flaw in flaws_by_structure(folder)] == [said]


def test_a_link_that_leads_nowhere_is_a_missing_file(tmp_path: Path) -> None:
    folder = put_files(tmp_path / "model", model_files())
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(tmp_path / "blobs/gone")
    assert f"{WEIGHTS} leads to a file that is missing" in {str(flaw) for flaw in flaws_by_structure(folder)}


def test_a_missing_shard_is_told_by_the_index(tmp_path: Path) -> None:
    files = model_files()
    shards = [f"unet/model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    del files[WEIGHTS]
    index = {"weight_map": {"a": Path(shards[0]).name, "b": Path(shards[1]).name}}
    files |= {"unet/model.safetensors.index.json": json.dumps(index).encode(), shards[0]: safetensors(3)}
    folder = put_files(tmp_path / "model", files)
    assert [str(flaw) for flaw in flaws_by_structure(folder)] == [f"{shards[1]} is missing"]
    put_files(folder, {shards[1]: safetensors(3)})
    assert flaws_by_structure(folder) == []


@pytest.mark.parametrize("name", ["sha256", "sha1"])
def test_blobs_of_a_hub_cache_are_named_by_their_content(tmp_path: Path, name: str) -> None:
    data = b"some weights"
    digest = hashlib.sha256(data) if name == "sha256" else hashlib.sha1(b"blob 12\0" + data)
    blob = tmp_path / "blobs" / digest.hexdigest()
    snapshot = tmp_path / "snapshots/abc"
    put_files(tmp_path, {f"blobs/{blob.name}": data})
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "unet/x").symlink_to(blob)
    assert flaws_by_blobs(snapshot) == []
    blob.write_bytes(b"other weight")
    assert [str(flaw) for flaw in flaws_by_blobs(snapshot)] == ["unet/x has another content than its name says"]
