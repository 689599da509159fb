"""What the tiny pipelines are made of: tokenizers, encoders and autoencoders with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from peft import LoraConfig, get_peft_model_state_dict
from tokenizers.pre_tokenizers import ByteLevel

_ALPHABET = sorted(ByteLevel.alphabet())
_CLIP_WORDS = [*_ALPHABET, *(letter + "</w>" for letter in _ALPHABET), "<|startoftext|>", "<|endoftext|>"]
_QWEN_SPECIAL = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
_QWEN_WORDS = [*_ALPHABET, "<|endoftext|>", *_QWEN_SPECIAL, "<think>", "</think>"]
QWEN_VISION_IDS = {
    name: _QWEN_WORDS.index(f"<|{word}|>")
    for name, word in (
        ("vision_start", "vision_start"),
        ("vision_end", "vision_end"),
        ("image", "image_pad"),
        ("video", "video_pad"),
    )
}
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHIFTED = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0609, "scaling_factor": 1.5035}
T5 = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
UNET = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "norm_num_groups": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def seeded(build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Build a model whose random weights are the same every time."""
    torch.manual_seed(0)
    made = build(*args, **kwargs)
    return made.eval()


def numbered(words: list[str]) -> dict[str, int]:
    return {word: n for n, word in enumerate(words)}


def clip_tokenizer() -> Any:
    return transformers.CLIPTokenizer(vocab=numbered(_CLIP_WORDS), merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    letters = [(chr(code), -3.0) for code in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    return transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def qwen_tokenizer() -> Any:
    made = transformers.Qwen2Tokenizer(vocab=numbered(_QWEN_WORDS), merges=[], model_max_length=1024)
    made.add_special_tokens({"additional_special_tokens": _QWEN_SPECIAL})
    made.chat_template = CHAT
    return made


def _clip_config(hidden_size: int = 32) -> Any:
    return transformers.CLIPTextConfig(
        hidden_size=hidden_size,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=514,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
        projection_dim=32,
    )


def clip(hidden_size: int = 32) -> Any:
    return seeded(transformers.CLIPTextModel, _clip_config(hidden_size))


def clip_with_projection() -> Any:
    return seeded(transformers.CLIPTextModelWithProjection, _clip_config())


def t5() -> Any:
    return seeded(transformers.T5EncoderModel, transformers.T5Config(**T5, decoder_start_token_id=0))


def clip_vision(hidden_size: int = 8, *, image_size: int = 32, patch_size: int = 8) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=hidden_size,
        projection_dim=hidden_size,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=image_size,
        patch_size=patch_size,
    )
    return seeded(transformers.CLIPVisionModel, config)


def clip_images(size: int = 32) -> Any:
    return transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def qwen3_config(layers: int) -> Any:
    return transformers.Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=300,
        max_position_embeddings=1024,
    )


def vae(latent_channels: int, **more: Any) -> Any:
    """Build an autoencoder with three halvings, as real image models have."""
    return seeded(
        diffusers.AutoencoderKL,
        block_out_channels=(16, 16, 32, 32),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latent_channels,
        **more,
    )


def flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def lora(pipeline: Any, folder: Path) -> None:
    """Save LoRA weights of rank 2 for a pipeline's denoiser, as a training script would."""
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    denoiser = getattr(pipeline, part)
    torch.manual_seed(1)
    denoiser.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k"], init_lora_weights=False))
    layers = get_peft_model_state_dict(denoiser)
    pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": {name: 8 * made for name, made in layers.items()}})


def classifier(folder: Path) -> None:
    """Save a classifier of pictures that knows two labels."""
    config = transformers.ViTConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        id2label={0: "normal", 1: "NSFW"},
        label2id={"normal": 0, "NSFW": 1},
    )
    seeded(transformers.ViTForImageClassification, config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
