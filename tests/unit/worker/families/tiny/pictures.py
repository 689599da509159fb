"""One function for each picture family: builds its pipeline with random weights."""

from typing import Any

import diffusers
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from tests.unit.worker.families.tiny.parts import (
    CHAT,
    QWEN_VISION_IDS,
    SHIFTED,
    UNET,
    clip,
    clip_images,
    clip_tokenizer,
    clip_vision,
    clip_with_projection,
    flow,
    numbered,
    qwen3_config,
    qwen_tokenizer,
    seeded,
    t5,
    t5_tokenizer,
    vae,
)


def _unet(**more: Any) -> Any:
    return seeded(diffusers.UNet2DConditionModel, **UNET | {"cross_attention_dim": 32, "attention_head_dim": 8} | more)


def _stable_diffusion(pipeline: Any = diffusers.StableDiffusionPipeline, **parts: Any) -> Any:
    usual = {
        "vae": vae(4),
        "text_encoder": clip(),
        "tokenizer": clip_tokenizer(),
        "scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return pipeline(**usual | parts)


def stable_diffusion() -> Any:
    return _stable_diffusion(unet=_unet())


def stable_diffusion_2() -> Any:
    unet = _unet(attention_head_dim=(2, 4), use_linear_projection=True)
    scheduler = diffusers.DDIMScheduler(steps_offset=1, clip_sample=False, prediction_type="v_prediction")
    return _stable_diffusion(unet=unet, scheduler=scheduler)


def stable_diffusion_inpaint() -> Any:
    return _stable_diffusion(diffusers.StableDiffusionInpaintPipeline, unet=_unet(in_channels=9))


def stable_diffusion_checked() -> Any:
    """Brings a checker, which objects to everything."""
    vision = clip_vision().config
    checker = seeded(StableDiffusionSafetyChecker, transformers.CLIPConfig(vision_config=vision, projection_dim=8))
    checker.concept_embeds_weights.fill_(-1.0)
    return _stable_diffusion(
        unet=_unet(), safety_checker=checker, feature_extractor=clip_images(), requires_safety_checker=True
    )


def latent_consistency() -> Any:
    unet = _unet(time_cond_proj_dim=32)
    return _stable_diffusion(diffusers.LatentConsistencyModelPipeline, unet=unet, scheduler=diffusers.LCMScheduler())


def _stable_diffusion_xl(pipeline: Any = diffusers.StableDiffusionXLPipeline, **more: Any) -> Any:
    unet = seeded(
        diffusers.UNet2DConditionModel,
        **UNET | more,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,  # 32 of the pooled prompt and 6 by 8 of the sizes
        cross_attention_dim=64,
    )
    return pipeline(
        vae=vae(4),
        text_encoder=clip(),
        text_encoder_2=clip_with_projection(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    )


def stable_diffusion_xl() -> Any:
    return _stable_diffusion_xl()


def stable_diffusion_xl_inpaint() -> Any:
    return _stable_diffusion_xl(diffusers.StableDiffusionXLInpaintPipeline, in_channels=9)


def stable_diffusion_3() -> Any:
    transformer = seeded(
        diffusers.SD3Transformer2DModel,
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=flow(),
        vae=vae(16, **SHIFTED),
        text_encoder=clip_with_projection(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_with_projection(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=t5_tokenizer(),
    )


def _flux(pipeline: Any = diffusers.FluxPipeline, *, guidance_embeds: bool = True, in_channels: int = 16) -> Any:
    transformer = seeded(
        diffusers.FluxTransformer2DModel,
        patch_size=1,
        in_channels=in_channels,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    )
    return pipeline(
        scheduler=flow(),
        vae=vae(4, **SHIFTED),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
    )


def flux() -> Any:
    return _flux()


def flux_fill() -> Any:
    # Beside the latent: those of the masked picture, and the mask of each of the 8 by 8 pixels of 2 by 2 latents.
    return _flux(diffusers.FluxFillPipeline, in_channels=16 + 16 + 8 * 8 * 2 * 2)


def flux_kontext() -> Any:
    return _flux(diffusers.FluxKontextPipeline)


def flux_schnell() -> Any:
    return _flux(guidance_embeds=False)


def _flux_2_transformer(*, guidance_embeds: bool) -> Any:
    return seeded(
        diffusers.Flux2Transformer2DModel,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,  # three layers of the text encoder
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=guidance_embeds,
    )


def _flux_2_vae() -> Any:
    return seeded(
        diffusers.AutoencoderKLFlux2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
    )


def _flux_2_klein(*, is_distilled: bool) -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=flow(),
        vae=_flux_2_vae(),
        text_encoder=seeded(transformers.Qwen3ForCausalLM, qwen3_config(28)),
        tokenizer=qwen_tokenizer(),
        transformer=_flux_2_transformer(guidance_embeds=False),
        is_distilled=is_distilled,
    )


def flux_2_klein() -> Any:
    return _flux_2_klein(is_distilled=True)


def flux_2_klein_base() -> Any:
    return _flux_2_klein(is_distilled=False)


def flux_2() -> Any:
    text = transformers.MistralConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=30,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=300,
        max_position_embeddings=2048,
    )
    vision = transformers.PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    config = transformers.Mistral3Config(text_config=text, vision_config=vision, image_token_index=262)
    tokenizer = qwen_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]})
    tokenizer.chat_template = CHAT.replace("m['content']", "m['content'][0]['text']")
    processor = transformers.PixtralProcessor(
        transformers.PixtralImageProcessor(), tokenizer, chat_template=tokenizer.chat_template
    )
    return diffusers.Flux2Pipeline(
        scheduler=flow(),
        vae=_flux_2_vae(),
        text_encoder=seeded(transformers.Mistral3ForConditionalGeneration, config),
        tokenizer=processor,
        transformer=_flux_2_transformer(guidance_embeds=True),
    )


def _qwen(pipeline: Any, **more: Any) -> Any:
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
        base_dim=3,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
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
    ids = {f"{name}_token_id": QWEN_VISION_IDS[name] for name in QWEN_VISION_IDS}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    return pipeline(
        transformer=transformer,
        scheduler=flow(),
        tokenizer=qwen_tokenizer(),
        vae=autoencoder,
        text_encoder=seeded(transformers.Qwen2_5_VLForConditionalGeneration, config),
        **more,
    )


def qwen_image() -> Any:
    return _qwen(diffusers.QwenImagePipeline)


def _qwen_edit(pipeline: Any) -> Any:
    processor = transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(), qwen_tokenizer(), transformers.Qwen2VLVideoProcessor()
    )
    return _qwen(pipeline, processor=processor)


def qwen_image_edit() -> Any:
    return _qwen_edit(diffusers.QwenImageEditPipeline)


def qwen_image_edit_plus() -> Any:
    return _qwen_edit(diffusers.QwenImageEditPlusPipeline)


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
        vae=vae(16, **SHIFTED),
        scheduler=flow(),
        text_encoder=seeded(transformers.Qwen3Model, qwen3_config(2)),
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
        tokenizer=transformers.GemmaTokenizer(vocab=numbered(words), merges=[], model_max_length=8192),
        text_encoder=seeded(transformers.Gemma2Model, gemma),
        vae=autoencoder,
        transformer=transformer,
        scheduler=flow(shift=7.0),
    )
