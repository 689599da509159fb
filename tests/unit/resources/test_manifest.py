from pathlib import Path

from pulumi_visgate.resources._manifest import SourceFile, pinned_digest, scan
from visgate_contract.caches import Manifest, ManifestFile


def make(folder: Path) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "w.bin").write_bytes(b"12345")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("not part of it")
    return folder


def test_the_digest_depends_on_paths_and_contents_alone(tmp_path: Path) -> None:
    one, two = scan(make(tmp_path / "one"), "a/b"), scan(make(tmp_path / "two"), "a/b")
    assert set(one.files) == {"model_index.json", "unet/w.bin"}
    assert one.digest == two.digest == one.identity
    assert one.size == 7
    (tmp_path / "two" / "unet" / "w.bin").write_bytes(b"12346")
    assert scan(tmp_path / "two", "a/b").digest != one.digest
    (tmp_path / "one" / "unet" / "w.bin").rename(tmp_path / "one" / "w.bin")
    assert scan(tmp_path / "one", "a/b").digest != one.digest


def test_a_stored_manifest_is_read_back(tmp_path: Path) -> None:
    manifest = scan(make(tmp_path / "m"), "a/b")
    assert Manifest.model_validate_json(manifest.to_bytes()) == manifest
    whole = manifest.model_copy(update={"folder": "c0ffee", "revision": "main", "commit": "c0ffee", "pinned": "p"})
    again = Manifest.model_validate_json(whole.to_bytes())
    assert again == whole
    assert again.identity == "p"
    assert set(again.keys("models/a/b/")) == {"models/a/b/c0ffee/model_index.json", "models/a/b/c0ffee/unet/w.bin"}
    assert "models/a/b/model_index.json" in manifest.keys("models/a/b/")  # without a folder they lie beside it


def test_a_choice_of_files_is_the_same_in_any_order_and_another_one_is_another() -> None:
    same = {pinned_digest("c", None, ["a", "b"]), pinned_digest("c", None, ["b", "a"])}
    others = {pinned_digest("c", "a", ["b"]), pinned_digest("c", None, []), pinned_digest("d", None, [])}
    assert len(same) == 1
    assert len(same | others) == 4


def test_a_file_is_known_by_the_digest_that_its_source_tells() -> None:
    stored = ManifestFile(sha256="s", size=5, blob_id="b")
    assert SourceFile("w", 5, sha256="s").is_same(stored)
    assert SourceFile("w", 5, blob_id="b").is_same(stored)
    assert not SourceFile("w", 6, sha256="s").is_same(stored)
    assert not SourceFile("w", 5, sha256="t", blob_id="b").is_same(stored)
    assert not SourceFile("w", 5).is_same(ManifestFile(sha256="s", size=5))
