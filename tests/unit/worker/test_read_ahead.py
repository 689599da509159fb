from pathlib import Path

from visgate_worker.read_ahead import CHUNK_BYTES, read_ahead, weights


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
        "unet/model.safetensors",
        "vae/model.fp16.safetensors",
    ]


def test_every_byte_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    size = 2 * CHUNK_BYTES + 5
    (tmp_path / "unet/model.safetensors").write_bytes(b"x" * size)
    before = read_bytes()
    for reader in read_ahead(tmp_path):
        reader.join(30)
    assert read_bytes() - before >= size
    assert read_bytes() - before < 2 * size


def read_bytes() -> int:
    """Return what this process has read so far, from cache or not."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def test_weights_that_memory_cannot_hold_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "unet/model.safetensors")
    assert read_ahead(tmp_path, memory_bytes=19) == []
    assert read_ahead(tmp_path, memory_bytes=20) != []


def test_a_file_that_vanishes_does_no_harm(tmp_path: Path) -> None:
    put(tmp_path, "unet/model.safetensors")
    (tmp_path / "vae").mkdir()
    readers = read_ahead(tmp_path)
    (tmp_path / "unet/model.safetensors").unlink()
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive()
