"""Pictures that are drawn at once are those drawn alone, for families that prepare prompts and latents differently."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from visgate_contract.tasks import Task, Text2ImgInput
from visgate_worker.runtime.proof import psnr_db

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served

MODELS = ("stable-diffusion", "stable-diffusion-3", "flux", "flux-2-klein", "qwen-image", "z-image")


@pytest.mark.parametrize("model", MODELS)
def test_two_prompts_at_once_give_the_pictures_of_each(serve_family: "Callable[[str], Served]", model: str) -> None:
    loaded = serve_family(model).model
    params = Text2ImgInput(prompt="a red fox", width=64, height=64, steps=2, num_images=2)
    one, other = loaded.adapter(Task.TEXT2IMG).plan(params, seed=7)
    other = replace(other, arguments={**other.arguments, "prompt": "a blue lake in the evening"})
    assert one.key() == other.key() is not None
    together = loaded.runtime.generate([one, other], lambda _: None)
    alone = [loaded.runtime.generate([each], lambda _: None)[0] for each in (one, other)]
    assert len(together) == 2
    for made, expected in zip(together, alone, strict=True):
        assert psnr_db(made, expected) > 35
    assert psnr_db(*together) < 35
