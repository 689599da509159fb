"""The model of the local stack: it is what its page says, and what it learns from is what its sentences say."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tools.local_models.drawing import COLOURS, SHAPES, Item, Scene, draw
from tools.local_models.examine import Question, examine
from tools.local_models.measuring import look
from tools.local_models.sentences import CHOICES, Lots

MODEL = Path(__file__).parents[3] / "stacks/models/visgate/tiny-sd"
MOST_BYTES = 10_000_000
WHITE, BLACK = COLOURS["white"], COLOURS["black"]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_drawn_is_seen(shape: str) -> None:
    for colour, rgb in COLOURS.items():
        ground = BLACK if colour == "white" else WHITE
        (picture,) = draw([Scene(ground, (Item(shape, rgb, 0.4, 0.6, 0.25),))], width=96, height=96)
        seen = look(picture)
        assert seen is not None
        assert (seen.shape, seen.colour) == (shape, colour)
        assert seen.overlap > 0.9
        assert (seen.x, seen.y) == pytest.approx((0.4, 0.6), abs=0.06)


def test_a_sentence_tells_of_its_scene() -> None:
    lots = Lots(3)
    for sentence in (lots.sentence() for _ in range(300)):
        (item,) = sentence.scene.items
        assert item.radius < item.x < 1 - item.radius
        assert item.radius < item.y < 1 - item.radius
        assert item.colour == tuple(COLOURS.values())[sentence.facts[1]]
        assert item.shape == tuple(SHAPES)[sentence.facts[0]]
        assert all(0 <= fact < count for fact, count in zip(sentence.facts, CHOICES, strict=True))
        assert re.fullmatch(r"[a-z ,]+", sentence.text)
    assert Lots(3).sentence() == Lots(3).sentence()


def test_its_weights_are_small_and_have_their_log() -> None:
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    log = (MODEL / "training.log").read_text()
    assert "examined: of 96 pictures" in log


def test_it_draws_what_it_is_asked_for() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(str(MODEL), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    asked = [Question(shape, colour, "white") for shape, colour in zip(SHAPES, COLOURS, strict=False)]
    told = examine(pipeline, asked)
    found = re.match(r"of 8 pictures the shape is right in (\d), its colour in 8, the ground in 8;", told)
    assert found, told
    assert int(found[1]) >= 6, told
