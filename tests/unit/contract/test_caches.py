import pytest
from pydantic import ValidationError

from visgate_contract.caches import CacheHead, Manifest, model_prefix, variant_of


def test_a_revision_is_known_by_its_name_and_its_commit() -> None:
    head = CacheHead.model_validate_json(
        '{"folder": "c0ffee-fp16", "revision": "main", "commit": "c0ffee", "files": {}}'
    )
    assert [head.is_at(name) for name in (None, "main", "c0ffee", "v2")] == [True, True, True, False]
    assert CacheHead().is_at(None)
    assert not CacheHead().is_at("main")


@pytest.mark.parametrize("folder", ["..", "../x", "/x", "a/b", ".hidden", "a b"])
def test_a_folder_is_never_anywhere_else(folder: str) -> None:
    with pytest.raises(ValidationError):
        CacheHead(folder=folder)


def test_the_prefix_is_the_folder_on_the_volume() -> None:
    assert model_prefix("org/name") == "models/org/name/"


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        ("unet/diffusion_pytorch_model.safetensors", None),
        ("unet/diffusion_pytorch_model.non_ema.safetensors", "non_ema"),
        ("unet/model-00001-of-00002.fp16.safetensors", "fp16"),  # as older versions of diffusers wrote it
        ("unet/model.safetensors.index.bf16.json", "bf16"),
        ("unet/model.safetensors.index.json", None),
    ],
)
def test_names_tell_the_variant(path: str, variant: str | None) -> None:
    assert variant_of(path) == variant


@pytest.mark.parametrize("path", ["../x", "/x", "unet/../../x", "unet//x", "./x"])
def test_a_manifest_names_no_file_outside_of_its_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="inside the model's folder"):
        Manifest.model_validate({"model_id": "org/name", "files": {path: {"sha256": "0" * 64, "size": 1}}})
