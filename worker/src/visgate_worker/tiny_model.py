"""Makes a tiny Stable Diffusion pipeline with random weights, on the spot: `python -m visgate_worker.tiny_model DEST`.

It is a complete and ordinary model in the diffusers folder format, made for the laptop's stack and for tests: what it
draws is abstract, but every part of a real model is there, and the same prompt and seed give the same picture. Sizes
are in the manner of diffusers' own tests, the shape (three halvings, 64 by 64 latents) is that of Stable Diffusion 1.x.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

RECIPE = 1  # raise it when the weights change, so that old folders are made anew
RECIPE_FILE = "visgate-tiny.json"
_SEED = 21


def make(destination: Path) -> bool:
    """Write the model, unless this version of it is there already.

    Args:
        destination: Folder of the model; appears whole or not at all.

    Returns:
        Whether it was written.
    """
    try:
        made = json.loads((destination / RECIPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = None
    if made == {"recipe": RECIPE}:
        return False
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tiny-", dir=destination.parent) as scratch:
        new = Path(scratch) / "new"
        _build().save_pretrained(new)
        (new / RECIPE_FILE).write_text(json.dumps({"recipe": RECIPE}) + "\n", encoding="utf-8")
        if destination.exists():
            destination.rename(Path(scratch) / "old")
        try:
            new.rename(destination)
        except OSError:
            # Another process was first, with the same bytes.
            if not (destination / RECIPE_FILE).is_file():
                raise
    return True


def _build() -> Any:  # the class is known to diffusers only, which is imported late
    import torch  # noqa: PLC0415, takes seconds
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    tokenizer, text_encoder = _text_parts()
    torch.manual_seed(_SEED)
    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    _smooth(unet, gain=2.0)
    torch.manual_seed(_SEED)
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=512,
    )
    torch.manual_seed(_SEED)
    _smooth(vae.decoder, gain=16.0)
    with torch.no_grad():
        vae.decoder.conv_out.weight *= 0.05  # colours stay inside what a picture can show
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _text_parts() -> tuple[Any, Any]:
    import torch  # noqa: PLC0415, loaded by the caller
    from tokenizers.pre_tokenizers import ByteLevel  # noqa: PLC0415
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: PLC0415

    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=77)
    torch.manual_seed(_SEED)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=4,
            num_hidden_layers=2,
            vocab_size=len(words),
            bos_token_id=len(words) - 2,
            eos_token_id=len(words) - 1,
            pad_token_id=len(words) - 1,
            projection_dim=32,
        )
    ).eval()
    return tokenizer, text_encoder


def _smooth(module: "torch.nn.Module", *, gain: float) -> None:
    """Turn every 3 by 3 convolution into a blur with random mixing of channels, so that large soft shapes appear.

    Args:
        module: Decoder or denoiser.
        gain: Strength of a convolution against the path that goes around it.
    """
    import torch  # noqa: PLC0415, loaded by the caller

    kernel = torch.tensor([0.8, 1.0, 0.8])
    kernel = kernel.outer(kernel) / kernel.sum() ** 2
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3):
                mixing = torch.randn(layer.out_channels, layer.in_channels) * gain / layer.in_channels**0.5
                layer.weight.copy_(mixing[:, :, None, None] * kernel)


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="visgate_worker.tiny_model", description=__doc__.splitlines()[0])
    parser.add_argument("destination", type=Path, help="folder of the model")
    destination = parser.parse_args().destination
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when it is imported
    written = make(destination)
    sys.stdout.write(f"{destination}: {'made' if written else 'was there'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
