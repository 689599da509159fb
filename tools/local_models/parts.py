"""The parts of the model, untrained: a small Stable Diffusion in the ordinary format of diffusers.

Latents are thumbnails of an eighth of the side: the encoder only averages, so the decoder alone has to learn, and what
it learns is to sharpen. The denoiser gets the prompt pooled, beside the time step, and in full at its smallest level.
It is not guided by a second pass, in the way of models that were distilled to go without; `guidance_scale` is ignored.
"""

import json
from collections.abc import Iterable

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIDE = 256
FACTOR = 8  # Stable Diffusion's, which requests are checked for
WORDS = 32
_WIDTH = 96
_CHANNELS = (16, 32, 64, 96)
_DECODER_CHANNELS = 20
_LATENT_CHANNELS = 4  # red, green, blue and their mean: as many as a Stable Diffusion has
_NOISE = 3.0


def tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """Return CLIP's, with the merges that spell the words of some texts."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False)
    learner.train_from_iterator([text.lower().replace(",", " , ") for text in texts], trainer)
    merges = [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=merges, model_max_length=WORDS)


def text_encoder(words: int) -> CLIPTextModel:
    """Return CLIP's, for a vocabulary of so many words."""
    config = CLIPTextConfig(
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=WORDS,
        vocab_size=words,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
        projection_dim=_WIDTH,
    )
    return CLIPTextModel(config)


def unet() -> UNet2DConditionModel:
    """Return the denoiser."""
    made = UNet2DConditionModel(
        sample_size=SIDE // FACTOR,
        in_channels=_LATENT_CHANNELS,
        out_channels=_LATENT_CHANNELS,
        block_out_channels=_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D",) * len(_CHANNELS),
        up_block_types=("UpBlock2D",) * len(_CHANNELS),
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=2 * _WIDTH,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        time_cond_proj_dim=8,
    )
    torch.nn.init.zeros_(made.time_embedding.cond_proj.weight)
    made.time_embedding.cond_proj.requires_grad_(requires_grad=False)
    return made


def vae() -> AutoencoderTiny:
    """Return an encoder that averages, and an untrained decoder."""
    levels = FACTOR.bit_length()
    made = AutoencoderTiny(
        encoder_block_out_channels=(3,) * levels,
        decoder_block_out_channels=(_DECODER_CHANNELS,) * levels,
        num_encoder_blocks=(0,) * levels,
        num_decoder_blocks=(2, 2, 1, 0),
        latent_channels=_LATENT_CHANNELS,
    )
    first, *halvings, last = made.encoder.layers
    same = torch.eye(3)
    with torch.no_grad():
        for layer in made.encoder.parameters():
            layer.zero_()
        first.weight[:, :, 1, 1] = same
        for halving in halvings:
            halving.weight[:, :, 1:, 1:] = same[:, :, None, None] / 4
        last.weight[:, :, 1, 1] = 2 * torch.cat([same, torch.full((1, 3), 1 / 3)])  # it is given 0 to 1
        last.bias.fill_(-1)
    made.encoder.requires_grad_(requires_grad=False)
    return made


def latents(pictures: Tensor, factor: int) -> Tensor:
    """Return what the encoder makes of pictures, without drawing them in full: thumbnails, and their brightness.

    Args:
        pictures: Of shape (pictures, 3, height, width), from -1 to 1.
        factor: How many times smaller a latent's side is.
    """
    small = functional.avg_pool2d(pictures, factor)
    return torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)


def scheduler() -> DDIMScheduler:
    """Return the scheduler.

    It begins at noise alone, and most of its steps are where noise hides all but what the prompt says: a cosine's
    schedule with the ratio of noise to picture multiplied, for such simple pictures are seen through much noise.
    """
    angles = torch.linspace(0, 0.995, 1001, dtype=torch.float64) * torch.pi / 2
    picture, noise = angles.cos() ** 2, (_NOISE * angles.sin()) ** 2
    kept = picture / (picture + noise)
    betas = (1 - kept[1:] / kept[:-1]).clamp(max=0.999)
    return DDIMScheduler(
        trained_betas=betas.tolist(),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )
