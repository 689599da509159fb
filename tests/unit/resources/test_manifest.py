from pathlib import Path

from pulumi_visgate.resources._manifest import Manifest, scan


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
    assert one.digest == two.digest
    assert one.size == 7
    (tmp_path / "two" / "unet" / "w.bin").rename(tmp_path / "two" / "unet" / "v.bin")
    assert scan(tmp_path / "two", "a/b").digest != one.digest


def test_a_changed_file_of_the_same_size_is_hashed_again(tmp_path: Path) -> None:
    before = scan(make(tmp_path / "m"), "a/b")
    (tmp_path / "m" / "unet" / "w.bin").write_bytes(b"54321")
    assert scan(tmp_path / "m", "a/b").digest != before.digest


def test_a_stored_manifest_is_read_back(tmp_path: Path) -> None:
    manifest = scan(make(tmp_path / "m"), "a/b")
    assert Manifest.model_validate_json(manifest.to_bytes()).digest == manifest.digest
