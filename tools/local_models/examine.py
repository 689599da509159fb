"""Asks the model for shapes and measures what it has drawn: `python -m tools.local_models.examine FOLDER`."""

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from tools.local_models.drawing import COLOURS, SHAPES
from tools.local_models.measuring import Seen, look
from tools.local_models.sentences import contrast

STEPS = 8
_BATCH = 8
_LEAST_CONTRAST = 0.3


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; a ground that is left out may be any pale one."""

    shape: str
    colour: str
    ground: str = ""

    @property
    def prompt(self) -> str:
        """The question in words."""
        thing = f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}"
        return f"{thing} on {self.ground}" if self.ground else thing


def questions(count: int, *, seed: int = 1) -> list[Question]:
    """Draw questions by lot; every shape comes equally often."""
    lots = random.Random(seed)
    found = []
    for n in range(count):
        ground = lots.choice(("", "white", *COLOURS))
        behind = COLOURS[ground or "white"]
        colours = [name for name, one in COLOURS.items() if contrast(one, behind) >= _LEAST_CONTRAST]
        found.append(Question(tuple(SHAPES)[n % len(SHAPES)], lots.choice(colours), ground))
    return found


def examine(pipeline: StableDiffusionPipeline, asked: list[Question]) -> str:
    """Return in a sentence how many answers are right, and what was taken for what."""
    seen: list[Seen | None] = []
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        generators = [torch.Generator().manual_seed(start + n) for n in range(len(batch))]
        pictures: Tensor = pipeline(
            [question.prompt for question in batch],
            num_inference_steps=STEPS,
            generator=generators,
            output_type="pt",
        ).images
        seen += [look(picture.float() * 2 - 1) for picture in pictures]
    pairs = list(zip(asked, seen, strict=True))
    shapes = sum(one is not None and one.shape == question.shape for question, one in pairs)
    colours = sum(one is not None and one.colour == question.colour for question, one in pairs)
    grounds = sum(one is not None and one.ground in _right_grounds(question) for question, one in pairs)
    overlap = sum(one.overlap for one in seen if one) / len(asked)
    wrong = Counter(
        f"{q.shape} as {one.shape if one else 'nothing'}" for q, one in pairs if not one or one.shape != q.shape
    )
    mistakes = ", ".join(f"{times} {what}" for what, times in wrong.most_common(6)) or "none"
    return (
        f"of {len(asked)} pictures the shape is right in {shapes}, its colour in {colours}, the ground in {grounds}; "
        f"overlap with the ideal outline {overlap:.3f}; mistaken: {mistakes}"
    )


def _right_grounds(question: Question) -> set[str]:
    return {question.ground} if question.ground and question.ground != "white" else {"white", "pale"}


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.local_models.examine", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the model")
    parser.add_argument("--count", type=int, default=96, help="pictures")
    asked = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(str(asked.folder), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sys.stdout.write(examine(pipeline, questions(asked.count)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
