"""Pipelines in the sizes of published models, or tiny ones of the same shape; random weights, nothing is downloaded.

The dimensions are those of the models' published configurations: Stable Diffusion XL base, FLUX.1 dev and Wan 2.1 1.3B.
Tokenizers know bytes only, which is enough for prompts that mean nothing to random weights.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

_DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
_UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
_NO_QUANT: dict[str, Any] = {
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "shift_factor": 0.1159,
    "scaling_factor": 0.3611,
}
_SPECIAL = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}


def sdxl(*, tiny: bool) -> DiffusionPipeline:
    """Stable Diffusion XL: 2.6 billion parameters in the UNet."""
    unet: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "layers_per_block": 2,
        "sample_size": 128,
    }
    if tiny:
        unet |= {
            "block_out_channels": (32, 32, 64),
            "transformer_layers_per_block": (1, 1, 1),
            "attention_head_dim": (2, 2, 4),
            "cross_attention_dim": 64,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
            "layers_per_block": 1,
            "sample_size": 32,
            "norm_num_groups": 8,
        }
    return StableDiffusionXLPipeline(
        vae=_vae(4, tiny=tiny),
        text_encoder=_clip(768, 12, 12, tiny=tiny),
        text_encoder_2=_clip(1280, 32, 20, tiny=tiny, projects=True),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=UNet2DConditionModel(
            in_channels=4,
            out_channels=4,
            down_block_types=_DOWN,
            up_block_types=_UP,
            use_linear_projection=True,
            addition_embed_type="text_time",
            **unet,
        ).eval(),
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    )


def flux(*, tiny: bool) -> DiffusionPipeline:
    """FLUX.1 dev: 12 billion parameters in the transformer, 4.8 in the text encoder."""
    transformer: dict[str, Any] = {
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "axes_dims_rope": (16, 56, 56),
        "guidance_embeds": True,
    }
    if tiny:
        transformer |= {
            "in_channels": 16,
            "num_layers": 2,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "pooled_projection_dim": 32,
            "axes_dims_rope": (4, 4, 8),
        }
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(4 if tiny else 16, tiny=tiny, **_NO_QUANT),
        text_encoder=_clip(768, 12, 12, tiny=tiny),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=T5EncoderModel(T5Config(**_t5(tiny=tiny))).eval(),
        tokenizer_2=_t5_tokenizer(),
        transformer=FluxTransformer2DModel(patch_size=1, **transformer).eval(),
    )


def wan(*, tiny: bool) -> DiffusionPipeline:
    """Wan 2.1 T2V 1.3B: 1.4 billion parameters in the transformer, 5.7 in the text encoder."""
    transformer: dict[str, Any] = {
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "text_dim": 4096,
        "ffn_dim": 8960,
        "num_layers": 30,
    }
    vae: dict[str, Any] = {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    if tiny:
        transformer |= {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 32, "ffn_dim": 32}
        transformer |= {"num_layers": 2}
        vae = {"base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    return WanPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=UMT5EncoderModel(UMT5Config(**_t5(tiny=tiny, vocab_size=256_384))).eval(),
        vae=AutoencoderKLWan(z_dim=16, temperal_downsample=[False, True, True], **vae).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            in_channels=16,
            out_channels=16,
            freq_dim=256,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=1024,
            **transformer,
        ).eval(),
    )


BUILDERS: Mapping[str, Callable[..., DiffusionPipeline]] = {"sdxl": sdxl, "flux": flux, "wan": wan}


def build(name: str, *, tiny: bool, device: str = "cpu", dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """Return a pipeline with random weights, the same ones each time on the same device.

    Args:
        name: Key of `BUILDERS`.
        tiny: Small enough for any machine.
        device: Where its weights are made.
        dtype: Their precision.
    """
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), torch.no_grad():
            return BUILDERS[name](tiny=tiny)
    finally:
        torch.set_default_dtype(before)


def _vae(latents: int, *, tiny: bool, **more: Any) -> AutoencoderKL:
    channels = (32, 32, 32, 32) if tiny else (128, 256, 512, 512)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1 if tiny else 2,
        latent_channels=latents,
        **more,
    ).eval()


def _clip(hidden: int, layers: int, heads: int, *, tiny: bool, projects: bool = False) -> Any:
    size: dict[str, Any] = {
        "hidden_size": 32 if tiny else hidden,
        "intermediate_size": 37 if tiny else 4 * hidden,
        "num_hidden_layers": 2 if tiny else layers,
        "num_attention_heads": 4 if tiny else heads,
        "projection_dim": 32 if tiny else hidden,
        "vocab_size": 514 if tiny else 49_408,
    }
    kind = CLIPTextModelWithProjection if projects else CLIPTextModel
    return kind(CLIPTextConfig(**size, **_SPECIAL)).eval()


def _t5(*, tiny: bool, vocab_size: int = 32_128) -> dict[str, Any]:
    if tiny:
        size = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
    else:
        size = {"vocab_size": vocab_size, "d_model": 4096, "d_kv": 64, "d_ff": 10_240, "num_layers": 24}
        size["num_heads"] = 64
    return {**size, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0}


def _clip_tokenizer() -> Any:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: n for n, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
