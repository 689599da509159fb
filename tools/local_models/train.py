"""Trains the model of the local stack: `python -m tools.local_models.train DEST`. `make local-model` runs it.

A decoder learns to sharpen, a text encoder to tell what a sentence names, a denoiser to draw it. Nothing is read but
this package: sentences and their pictures are drawn while it learns. It takes two processors: the decoder learns beside
the other two. Each has one thread, so the same weights come out on the same kind of machine.
"""

import argparse
import copy
import math
import multiprocessing
import random
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from tools.local_models import parts
from tools.local_models.drawing import COLOURS, PALE, SHAPES, Item, Scene, draw
from tools.local_models.examine import examine, questions
from tools.local_models.sentences import CHOICES, Lots, Sentence

SEED = 7
_LATENT = parts.SIDE // parts.FACTOR


class Log:
    """Lines of what was learned and what that took, on the screen and in a file.

    Args:
        file: Both processes add to it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started = time.perf_counter()

    def say(self, text: str) -> None:
        """Add a line with the seconds since the start by the clock, and those of this process's processor."""
        line = f"{time.perf_counter() - self._started:7.1f} s {time.process_time():7.1f} s cpu  {text}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line)


class Learner:
    """Adam with a warm-up and a cosine's end, and the weights' moving average.

    Args:
        modules: What learns.
        steps: How often.
        rate: Highest rate of learning.
    """

    def __init__(self, modules: Iterable[nn.Module], *, steps: int, rate: float) -> None:
        self._modules = list(modules)
        self.averaged = copy.deepcopy(self._modules)
        self._parameters = [one for module in self._modules for one in module.parameters()]
        self._averages = [one for module in self.averaged for one in module.parameters()]
        self._adam = torch.optim.AdamW(
            [one for one in self._parameters if one.requires_grad], lr=rate, betas=(0.9, 0.98), weight_decay=1e-3
        )
        self._rate = torch.optim.lr_scheduler.LambdaLR(
            self._adam, lambda n: min(1.0, (n + 1) / 60) * (0.505 + 0.495 * math.cos(math.pi * min(1.0, n / steps)))
        )
        self._steps = 0

    def step(self, loss: Tensor) -> None:
        """Learn from one loss."""
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._adam.step()
        self._adam.zero_grad()
        self._rate.step()
        self._steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._parameters, 1 - min(0.997, self._steps / (self._steps + 20)))


def learn_to_sharpen(log: Log, *, steps: int, batch: int = 16) -> dict[str, Tensor]:
    """Teach a decoder to make sharp pictures from thumbnails, of cut-outs, mostly of edges; returns the weights."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    lots = random.Random(SEED)
    vae = parts.vae()
    learner, window = Learner([vae], steps=steps, rate=2e-3), []
    for n in range(steps):
        picture = draw([_cut_out(lots) for _ in range(batch)], width=64, height=64)
        with torch.no_grad():
            latents = vae.encode(picture).latents
        error = vae.decode(latents + 0.05 * torch.randn_like(latents)).sample - picture
        loss = error.abs().mean() + error.square().mean()
        learner.step(loss)
        window.append(error.detach().square().mean().item())
        if _is_told(n, steps):
            log.say(f"decoder {n + 1:5d}/{steps}  {10 * math.log10(4 / _mean(window)):.2f} dB")
    weights: dict[str, Tensor] = learner.averaged[0].state_dict()
    return weights


def _cut_out(lots: random.Random) -> Scene:
    colours = [*COLOURS.values(), *PALE]
    items = tuple(
        Item(
            lots.choice(tuple(SHAPES)),
            lots.choice(colours),
            lots.uniform(-0.6, 1.6),
            lots.uniform(-0.6, 1.6),
            lots.uniform(0.4, 1.7),
        )
        for _ in range(lots.choice((1, 1, 2)))
    )
    return Scene(lots.choice(colours), items)


class Reader:
    """What turns a prompt into numbers: the text encoder, and the denoiser's own pooling of it."""

    def __init__(self, tokenizer: CLIPTokenizer, text: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        self.text = text
        self.pool = unet.add_embedding
        self.facts = nn.Linear(2 * text.config.hidden_size, sum(CHOICES))
        self._tokenizer = tokenizer

    def words(self, sentences: Sequence[Sentence]) -> Tensor:
        """Return hidden states of shape (sentences, words, width)."""
        texts = [sentence.text for sentence in sentences]
        asked = self._tokenizer(
            texts, padding="max_length", max_length=parts.WORDS, truncation=True, return_tensors="pt"
        )
        hidden: Tensor = self.text(asked.input_ids)[0]
        return hidden

    def loss(self, sentences: Sequence[Sentence], words: Tensor) -> Tensor:
        """Return how wrong its guess of the facts is."""
        guesses = self.facts(self.pool(words)).split(CHOICES, dim=1)
        facts = torch.tensor([sentence.facts for sentence in sentences]).unbind(dim=1)
        return torch.stack([functional.cross_entropy(a, b) for a, b in zip(guesses, facts, strict=True)]).mean()


def learn_to_read(reader: Reader, lots: Lots, log: Log, *, steps: int, batch: int = 96) -> None:
    """Teach the text encoder which shape, colour and ground a sentence names."""
    learner, window = Learner([reader.text, reader.pool, reader.facts], steps=steps, rate=2e-3), []
    for n in range(steps):
        sentences = [lots.sentence() for _ in range(batch)]
        loss = reader.loss(sentences, reader.words(sentences))
        learner.step(loss)
        window.append(loss.item())
        if _is_told(n, steps):
            log.say(f"reader  {n + 1:5d}/{steps}  cross entropy {_mean(window):.3f}")


def learn_to_draw(
    unet: UNet2DConditionModel, reader: Reader, lots: Lots, log: Log, *, steps: int, batch: int = 32
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Teach the denoiser to draw what a sentence says; the text encoder goes on learning with it."""
    scheduler = parts.scheduler()
    learner, window = Learner([unet, reader.text], steps=steps, rate=1e-3), []
    unguided = torch.zeros(batch, unet.config.time_cond_proj_dim)
    for n in range(steps):
        sentences = [lots.sentence() for _ in range(batch)]
        pictures = draw([sentence.scene for sentence in sentences], width=4 * _LATENT, height=4 * _LATENT)
        latents = parts.latents(pictures, 4)
        times = torch.randint(0, scheduler.config.num_train_timesteps, (batch,))
        noise = torch.randn_like(latents)
        noisy = scheduler.add_noise(latents, noise, times)
        guess = unet(noisy, times, reader.words(sentences), timestep_cond=unguided).sample
        loss = functional.mse_loss(guess, scheduler.get_velocity(latents, noise, times))
        learner.step(loss)
        window.append(loss.item())
        if _is_told(n, steps):
            log.say(f"denoiser {n + 1:4d}/{steps}  mean square {_mean(window):.4f}")
    averaged_unet, averaged_text = learner.averaged
    return averaged_unet, averaged_text


def train(log: Log, *, share: float = 1.0) -> StableDiffusionPipeline:
    """Return the trained model.

    Args:
        log: Is told how it goes.
        share: Part of the steps; less than all of them for a test.
    """

    def steps(whole: int) -> int:
        return max(1, round(whole * share))

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
        sharp = beside.submit(learn_to_sharpen, log, steps=steps(1300))
        torch.set_num_threads(1)
        torch.manual_seed(SEED)
        lots = Lots(SEED)
        tokenizer = parts.tokenizer([lots.sentence().text for _ in range(4000)])
        text, unet = parts.text_encoder(len(tokenizer)), parts.unet()
        reader = Reader(tokenizer, text, unet)
        learn_to_read(reader, lots, log, steps=steps(250))
        unet, text = learn_to_draw(unet, reader, lots, log, steps=steps(1700))
        vae = parts.vae()
        vae.load_state_dict(sharp.result())
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=parts.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _is_told(n: int, steps: int) -> bool:
    return (n + 1) % max(1, steps // 20) == 0


def _mean(window: list[float]) -> float:
    mean = sum(window) / len(window)
    window.clear()
    return mean


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.local_models.train", description=__doc__.splitlines()[0])
    parser.add_argument("destination", type=Path, help="folder of the model")
    parser.add_argument("--share", type=float, default=1.0, help="part of the steps, to try it out")
    asked = parser.parse_args()
    asked.destination.mkdir(parents=True, exist_ok=True)
    file = asked.destination / "training.log"
    file.unlink(missing_ok=True)
    log = Log(file)
    pipeline = train(log, share=asked.share)
    pipeline.set_progress_bar_config(disable=True)
    log.say(f"examined: {examine(pipeline, questions(96))}")
    # In half precision the folder is half as large, and draws the same.
    pipeline.to(torch.float16).save_pretrained(asked.destination)
    return 0


if __name__ == "__main__":
    sys.exit(main())
