"""One function for each family: builds its pipeline with random weights. Not imported before a test needs a model."""

from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

_ALPHABET = sorted(ByteLevel.alphabet())
_CLIP_WORDS = [*_ALPHABET, *(letter + "</w>" for letter in _ALPHABET), "<|startoftext|>", "<|endoftext|>"]
_QWEN_WORDS = [*_ALPHABET, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SHIFTED = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0609, "scaling_factor": 1.5035}
_T5 = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
_UNET = {
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


def _numbered(words: list[str]) -> dict[str, int]:
    return {word: n for n, word in enumerate(words)}


def clip_tokenizer() -> Any:
    return transformers.CLIPTokenizer(vocab=_numbered(_CLIP_WORDS), merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    letters = [(chr(code), -3.0) for code in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    return transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def qwen_tokenizer() -> Any:
    made = transformers.Qwen2Tokenizer(vocab=_numbered(_QWEN_WORDS), merges=[], model_max_length=1024)
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.chat_template = _CHAT
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
    return seeded(transformers.T5EncoderModel, transformers.T5Config(**_T5, decoder_start_token_id=0))


def _qwen3_config(layers: int) -> Any:
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


def _flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def stable_diffusion() -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=seeded(diffusers.UNet2DConditionModel, **_UNET, cross_attention_dim=32, attention_head_dim=8),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> Any:
    unet = seeded(
        diffusers.UNet2DConditionModel,
        **_UNET,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,  # 32 of the pooled prompt and 6 by 8 of the sizes
        cross_attention_dim=64,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(4),
        text_encoder=clip(),
        text_encoder_2=clip_with_projection(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    )


def stable_diffusion_3() -> Any:
    transformer = seeded(
        diffusers.SD3Transformer2DModel,
        sample_size=32,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=_flow(),
        vae=vae(4, **_SHIFTED),
        text_encoder=clip_with_projection(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_with_projection(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=t5_tokenizer(),
    )


def _flux(*, guidance_embeds: bool) -> Any:
    transformer = seeded(
        diffusers.FluxTransformer2DModel,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    )
    return diffusers.FluxPipeline(
        scheduler=_flow(),
        vae=vae(4, **_SHIFTED),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
    )


def flux() -> Any:
    return _flux(guidance_embeds=True)


def flux_schnell() -> Any:
    return _flux(guidance_embeds=False)


def _flux_2_klein(*, is_distilled: bool) -> Any:
    transformer = seeded(
        diffusers.Flux2Transformer2DModel,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,  # three layers of the text encoder
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLFlux2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=_flow(),
        vae=autoencoder,
        text_encoder=seeded(transformers.Qwen3ForCausalLM, _qwen3_config(28)),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        is_distilled=is_distilled,
    )


def flux_2_klein() -> Any:
    return _flux_2_klein(is_distilled=True)


def flux_2_klein_base() -> Any:
    return _flux_2_klein(is_distilled=False)


def qwen_image() -> Any:
    transformer = seeded(
        diffusers.QwenImageTransformer2DModel,
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLQwenImage,
        base_dim=12,
        z_dim=4,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    small = {"hidden_size": 16, "intermediate_size": 16}
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    text = small | {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_scaling": rope,
        "vocab_size": 300,
        "max_position_embeddings": 1024,
    }
    vision = small | {"depth": 2, "num_heads": 2, "out_hidden_size": 16}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return diffusers.QwenImagePipeline(
        transformer=transformer,
        scheduler=_flow(),
        tokenizer=qwen_tokenizer(),
        vae=autoencoder,
        text_encoder=seeded(transformers.Qwen2_5_VLForConditionalGeneration, config),
    )


def z_image() -> Any:
    transformer = seeded(
        diffusers.ZImageTransformer2DModel,
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    return diffusers.ZImagePipeline(
        transformer=transformer,
        vae=vae(16, **_SHIFTED),
        scheduler=_flow(),
        text_encoder=seeded(transformers.Qwen3Model, _qwen3_config(2)),
        tokenizer=qwen_tokenizer(),
    )


def _pixart(pipeline: Any) -> Any:
    transformer = seeded(
        diffusers.PixArtTransformer2DModel,
        sample_size=32,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    return pipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae(4),
        transformer=transformer,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
    )


def pixart_alpha() -> Any:
    return _pixart(diffusers.PixArtAlphaPipeline)


def pixart_sigma() -> Any:
    return _pixart(diffusers.PixArtSigmaPipeline)


def sana() -> Any:
    stages = 6
    autoencoder = seeded(
        diffusers.AutoencoderDC,
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock",) * (stages - 1) + ("EfficientViTBlock",),
        decoder_block_types=("ResBlock",) * (stages - 1) + ("EfficientViTBlock",),
        encoder_block_out_channels=(8,) * stages,
        decoder_block_out_channels=(8,) * stages,
        encoder_qkv_multiscales=((),) * (stages - 1) + ((5,),),
        decoder_qkv_multiscales=((),) * (stages - 1) + ((5,),),
        encoder_layers_per_block=(1,) * stages,
        decoder_layers_per_block=(1,) * stages,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    transformer = seeded(
        diffusers.SanaTransformer2DModel,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=16,
    )
    gemma = transformers.Gemma2Config(
        head_dim=16,
        hidden_size=8,
        intermediate_size=64,
        max_position_embeddings=8192,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        vocab_size=300,
        attn_implementation="eager",
    )
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *(chr(code) for code in range(33, 127))]
    return diffusers.SanaPipeline(
        tokenizer=transformers.GemmaTokenizer(vocab=_numbered(words), merges=[], model_max_length=8192),
        text_encoder=seeded(transformers.Gemma2Model, gemma),
        vae=autoencoder,
        transformer=transformer,
        scheduler=_flow(shift=7.0),
    )


def wan() -> Any:
    transformer = seeded(
        diffusers.WanTransformer3DModel,
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    autoencoder = seeded(
        diffusers.AutoencoderKLWan,
        base_dim=3,
        z_dim=16,
        dim_mult=[1] * 4,
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    return diffusers.WanPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=seeded(transformers.UMT5EncoderModel, transformers.UMT5Config(**_T5, decoder_start_token_id=0)),
        vae=autoencoder,
        scheduler=_flow(shift=7.0),
        transformer=transformer,
    )


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
        transformer=transformer, scheduler=_flow(), text_encoder=t5(), tokenizer=t5_tokenizer(), vae=autoencoder
    )


def cogvideox() -> Any:
    transformer = seeded(
        diffusers.CogVideoXTransformer3DModel,
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
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
    return diffusers.CogVideoXPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=autoencoder,
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def hunyuan_video() -> Any:
    transformer = seeded(
        diffusers.HunyuanVideoTransformer3DModel,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    )
    llama = transformers.LlamaConfig(
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        hidden_size=16,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=300,
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
    return diffusers.HunyuanVideoPipeline(
        transformer=transformer,
        scheduler=_flow(shift=7.0),
        tokenizer=qwen_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        text_encoder=seeded(transformers.LlamaModel, llama),
        text_encoder_2=clip(8),
        vae=autoencoder,
    )


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "stable-diffusion": stable_diffusion,
    "stable-diffusion-xl": stable_diffusion_xl,
    "stable-diffusion-3": stable_diffusion_3,
    "flux": flux,
    "flux-schnell": flux_schnell,
    "flux-2-klein": flux_2_klein,
    "flux-2-klein-base": flux_2_klein_base,
    "qwen-image": qwen_image,
    "z-image": z_image,
    "pixart-alpha": pixart_alpha,
    "pixart-sigma": pixart_sigma,
    "sana": sana,
    "wan": wan,
    "ltx": ltx,
    "cogvideox": cogvideox,
    "hunyuan-video": hunyuan_video,
}
