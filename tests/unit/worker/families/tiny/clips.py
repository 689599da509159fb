"""One function for each video family: builds its pipeline with random weights."""

import re
from typing import Any

import diffusers
import transformers
from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video_image2video

from tests.unit.worker.families.tiny.parts import (
    T5,
    clip,
    clip_images,
    clip_tokenizer,
    clip_vision,
    flow,
    qwen_tokenizer,
    seeded,
    t5,
    t5_tokenizer,
)


def _wan(pipeline: Any, *, autoencoder: Any = None, transformer: dict[str, Any] | None = None, **more: Any) -> Any:
    made = seeded(
        diffusers.WanTransformer3DModel,
        **{
            "patch_size": (1, 2, 2),
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 16,
            "out_channels": 16,
            "text_dim": 32,
            "freq_dim": 256,
            "ffn_dim": 32,
            "num_layers": 2,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "rope_max_seq_len": 32,
        }
        | (transformer or {}),
    )
    return pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=seeded(transformers.UMT5EncoderModel, transformers.UMT5Config(**T5, decoder_start_token_id=0)),
        vae=autoencoder or _wan_vae(),
        scheduler=flow(shift=7.0),
        transformer=made,
        **more,
    )


def _wan_vae(**more: Any) -> Any:
    return seeded(
        diffusers.AutoencoderKLWan,
        base_dim=3,
        z_dim=16,
        dim_mult=[1] * 4,
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        **more,
    )


def wan() -> Any:
    return _wan(diffusers.WanPipeline)


def wan_image() -> Any:
    # Latents, those of the first frame, and which frames are given; the picture is seen by an encoder, too.
    return _wan(
        diffusers.WanImageToVideoPipeline,
        transformer={"in_channels": 36, "image_dim": 8},
        image_encoder=clip_vision(),
        image_processor=clip_images(),
    )


def wan_text_and_image() -> Any:
    squeezed = {"in_channels": 12, "out_channels": 12, "patch_size": 2, "is_residual": True, "scale_factor_spatial": 16}
    return _wan(diffusers.WanPipeline, autoencoder=_wan_vae(**squeezed), expand_timesteps=True)


def ltx() -> Any:
    transformer = seeded(
        diffusers.LTXVideoTransformer3DModel,
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=32,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLLTXVideo,
        latent_channels=8,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, True, False),
        decoder_spatio_temporal_scaling=(True, True, True, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    return diffusers.LTXPipeline(
        transformer=transformer, scheduler=flow(), text_encoder=t5(), tokenizer=t5_tokenizer(), vae=autoencoder
    )


def _cogvideox(pipeline: Any, **more: Any) -> Any:
    transformer = seeded(
        diffusers.CogVideoXTransformer3DModel,
        num_attention_heads=4,
        attention_head_dim=16,
        **{"in_channels": 4} | more,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=2,
        sample_width=12,
        sample_height=8,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=226,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLCogVideoX,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=autoencoder,
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def cogvideox() -> Any:
    return _cogvideox(diffusers.CogVideoXPipeline)


def cogvideox_image() -> Any:
    return _cogvideox(
        diffusers.CogVideoXImageToVideoPipeline,
        in_channels=8,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
    )


def _hunyuan_video(pipeline: Any, *, in_channels: int = 4, condition: str | None = None, **more: Any) -> Any:
    transformer = seeded(
        diffusers.HunyuanVideoTransformer3DModel,
        in_channels=in_channels,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=condition is None,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        image_condition_type=condition,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLHunyuanVideo,
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )
    return pipeline(
        transformer=transformer,
        scheduler=flow(shift=7.0),
        tokenizer_2=clip_tokenizer(),
        text_encoder_2=clip(8),
        vae=autoencoder,
        **more,
    )


def _llama(**more: Any) -> Any:
    return transformers.LlamaConfig(
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        hidden_size=16,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        **more,
    )


def hunyuan_video() -> Any:
    text_encoder = seeded(transformers.LlamaModel, _llama(vocab_size=300))
    return _hunyuan_video(diffusers.HunyuanVideoPipeline, tokenizer=qwen_tokenizer(), text_encoder=text_encoder)


def hunyuan_video_image() -> Any:
    # The prompt is wrapped into a template that has to be no longer in tokens than it is for the real model.
    template = pipeline_hunyuan_video_image2video.DEFAULT_PROMPT_TEMPLATE["template"]
    tokenizer = qwen_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [*sorted(set(re.findall(r"<[^>]+>", template)))]})
    tokenizer.add_tokens(sorted(set(re.findall(r" ?[A-Za-z]+", template))))
    config = transformers.LlavaConfig(
        text_config=_llama(vocab_size=512),
        vision_config=clip_vision(image_size=48, patch_size=2).config,  # 24 by 24 patches, as the template has it
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=2,
    )
    return _hunyuan_video(
        diffusers.HunyuanVideoImageToVideoPipeline,
        in_channels=2 * 4 + 1,
        condition="latent_concat",
        tokenizer=tokenizer,
        text_encoder=seeded(transformers.LlavaForConditionalGeneration, config),
        image_processor=clip_images(48),
    )


def mochi() -> Any:
    transformer = seeded(
        diffusers.MochiTransformer3DModel,
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        out_channels=None,
        qk_norm="rms_norm",
        text_embed_dim=32,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=16,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLMochi,
        latent_channels=12,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return diffusers.MochiPipeline(
        transformer=transformer, scheduler=flow(), text_encoder=t5(), tokenizer=t5_tokenizer(), vae=autoencoder
    )
