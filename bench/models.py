"""Models of a benchmark: made on the spot, with random weights."""

import json
import os
import shutil
from pathlib import Path

from visgate_worker import tiny_model


def tiny(folder: Path) -> Path:
    """Make the tiny model."""
    tiny_model.make(folder)
    return folder


def wide(folder: Path, base: Path) -> Path:
    """Make a model whose weights take long enough to read: the tiny one with a UNet of some 900 MB.

    Args:
        folder: Where it goes.
        base: The tiny model.
    """
    from diffusers import UNet2DConditionModel  # noqa: PLC0415 - takes seconds

    shutil.copytree(base, folder)
    config = UNet2DConditionModel.load_config(base / "unet")
    config = {**config, "block_out_channels": [480, 960, 1920, 1920][: len(config["block_out_channels"])]}
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    return folder


def stored(folder: Path) -> Path:
    """Make what a store has of a model: 256 MB in two files, enough to see how fast it comes, and never loaded."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for name in ("one", "other"):
        (folder / "unet" / f"{name}.safetensors").write_bytes(os.urandom(1 << 20) * 128)
    return folder
