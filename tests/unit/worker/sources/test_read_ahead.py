from pathlib import Path

import pytest

from visgate_worker.sources import read_ahead
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.read_ahead import CHUNK_BYTES, ReadAhead, available_bytes


def weights(folder: Path) -> list[Path]:
    return ModelFolder(folder, "volume").weights()


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)


def test_only_what_will_be_loaded_is_chosen(tmp_path: Path) -> None:
    put(
        tmp_path,
        "model_index.json",
        "whole-checkpoint.safetensors",
        "unet/model.safetensors",
        "unet/model.fp16.safetensors",
        "unet/model.bin",
        "vae/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/vocab.json",
    )
    assert [str(path.relative_to(tmp_path)) for path in weights(tmp_path)] == [
        "text_encoder/pytorch_model.bin",
        "unet/model.fp16.safetensors",  # the variant that one part has nothing but is taken of all
        "vae/model.fp16.safetensors",
    ]


def test_every_byte_is_read_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    size = 2 * CHUNK_BYTES + 5
    (tmp_path / "unet/model.safetensors").write_bytes(b"x" * size)
    before, told = read_bytes(), []
    reading = ReadAhead(weights(tmp_path), on_bytes=lambda done, total: told.append((done, total)))
    reading.wait()
    assert not reading.is_reading
    assert read_bytes() - before >= size
    assert read_bytes() - before < 2 * size
    assert max(told) == (size, size)


def read_bytes() -> int:
    """Return what this process has read so far, from cache or not."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def test_weights_that_memory_cannot_hold_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "unet/model.safetensors")
    assert not ReadAhead(weights(tmp_path), memory_bytes=13).has_begun
    assert ReadAhead(weights(tmp_path), memory_bytes=14).has_begun


def test_a_file_that_vanishes_does_no_harm(tmp_path: Path) -> None:
    put(tmp_path, "unet/model.safetensors")
    files = weights(tmp_path)
    reading = ReadAhead(files)
    files[0].unlink()
    reading.wait()
    assert not reading.is_reading


def test_the_containers_limit_counts_and_its_page_cache_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = available_bytes()
    assert whole > 0
    monkeypatch.setattr(read_ahead, "_CGROUP", tmp_path)
    for name, text in (("memory.max", "1000"), ("memory.current", "900"), ("memory.stat", "anon 100\nfile 700\n")):
        (tmp_path / name).write_text(text)
    assert available_bytes() == 800
    (tmp_path / "memory.max").write_text("max")
    assert available_bytes() > 800
