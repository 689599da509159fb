import json
from typing import Any

import pytest

from pulumi_visgate.hub.protocol import RepoFile
from pulumi_visgate.hub.selection import select
from pulumi_visgate.local.hub import testing as hub_mirror
from pulumi_visgate.resources.errors import HubError

FILES = hub_mirror.model()
INDEX = json.loads(FILES["model_index.json"])
SHARDED = {
    "_class_name": "FluxPipeline",
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
}


def chosen(paths: Any, index: dict[str, Any], **choice: Any) -> set[str]:
    return {file.path for file in select([RepoFile(path, 1) for path in paths], index, **choice)}


def test_a_pipeline_gets_its_parts_in_full_precision_and_nothing_else() -> None:
    assert chosen(FILES, INDEX) == {
        "LICENSE.md",
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }


def test_a_variant_is_taken_where_there_is_one() -> None:
    found = chosen(FILES, INDEX, variant="fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in found
    assert "unet/diffusion_pytorch_model.safetensors" not in found
    assert "vae/diffusion_pytorch_model.safetensors" in found


def test_shards_come_with_their_index() -> None:
    plain = {
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
    }
    half = {
        "transformer/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.fp16.json",
    }
    others = {"transformer/diffusion_pytorch_model.bin.index.json", "text_encoder/model.safetensors"}
    paths = {"model_index.json", *plain, *half, *others}
    own = {"model_index.json", "text_encoder/model.safetensors"}
    assert chosen(paths, SHARDED) == own | plain
    assert chosen(paths, SHARDED, variant="fp16") == own | half


def test_patterns_take_exactly_what_they_match_and_the_index() -> None:
    assert chosen(FILES, INDEX, patterns=["vae/*", "unet/*.bin"]) == {
        "model_index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.bin",
    }


def test_weights_that_can_run_code_are_not_taken_unasked() -> None:
    paths = [path for path in FILES if not (path.startswith("unet/") and path.endswith(".safetensors"))]
    with pytest.raises(HubError, match=r"allow_patterns: unet has no safetensors.*if you trust them"):
        chosen(paths, INDEX)


def test_a_part_with_other_variants_only_names_them() -> None:
    paths = [path for path in FILES if path != "unet/diffusion_pytorch_model.safetensors"]
    with pytest.raises(HubError, match="variant: unet has its weights as fp16 only"):
        chosen(paths, INDEX)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in chosen(paths, INDEX, variant="fp16")
