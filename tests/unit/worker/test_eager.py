import shutil
from pathlib import Path

import pytest


@pytest.mark.parametrize("parts", [["unet"], ["unet", "vae", "text_encoder"]])
def test_parts_that_are_there_in_a_variant_only_are_loaded(tiny_volume: Path, tmp_path: Path, parts: list[str]) -> None:
    from visgate_worker.runtime.eager import EagerRuntime

    folder = tmp_path / "model"
    shutil.copytree(tiny_volume / "models/visgate/tiny", folder)
    for part in parts:
        [weights] = (folder / part).glob("*.safetensors")
        weights.rename(weights.with_name(f"{weights.stem}.bf16.safetensors"))
    runtime = EagerRuntime()
    runtime.load(folder)
    assert runtime.class_of("StableDiffusionPipeline").__name__ == "StableDiffusionPipeline"
