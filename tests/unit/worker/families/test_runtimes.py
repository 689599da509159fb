"""Which runtimes each family's pipelines stand: the table of the docs, run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.worker.families.cases import FIRST_OF, RUNTIMES
from visgate_contract.families import Family
from visgate_worker.model import find
from visgate_worker.runtime.recipe import MIN_CACHED_STEPS, Hardware, Policy, Recipe

if TYPE_CHECKING:
    from visgate_worker.settings import Settings

# Of numpy about schedulers, and of torch about pipelines that cast on the CPU; nobody here can heed them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]

CPU = Hardware("cpu", "cpu")


def proven(settings: "Settings", recipe: Recipe, kept: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Prove a recipe as a worker does between two jobs; returns why it is not used, or nothing."""
    import torch

    from visgate_worker.runtime import choice, ladder, parts
    from visgate_worker.runtime.compiled import CompiledCode
    from visgate_worker.runtime.verdicts import Verdicts

    torch.set_num_threads(1)  # for models this small, threads cost more than they do
    monkeypatch.setattr(parts, "_MIN_FEATURES", 8)  # the tiny models' layers are quantised, too
    monkeypatch.setattr(ladder, "ladder", lambda *_: (recipe, Recipe()))
    found = find(settings)
    probe = choice.probe_of(found.capability, is_gpu=False)
    assert probe is not None
    steps = MIN_CACHED_STEPS if recipe.cache else 2
    probe = replace(probe, arguments={**probe.arguments, "num_inference_steps": steps}, steps=steps)
    family = str(found.capability.family)
    runtime = ladder.LadderRuntime(
        ladder.Means(
            Policy.CACHED,  # one that is not after speed, which tiny models have none of
            CPU,
            family,
            Verdicts(kept, gpu="cpu", family=family, model=settings.model_id, versions="1"),
            CompiledCode(kept, kept / "local", key="cpu"),
            probe=probe,
        )
    )
    runtime.load(found.folder.path)
    runtime.improve()
    report = runtime.report()
    assert report.name == (recipe.name if not report.fallbacks else "eager")
    return " ".join(one.reason for one in report.fallbacks)


FAMILIES = list(FIRST_OF)


@pytest.mark.parametrize(
    "family", [*FAMILIES[:2], *(pytest.param(family, marks=pytest.mark.long) for family in FAMILIES[2:])]
)
def test_a_family_stands_the_runtimes_that_the_docs_say(
    built_family: "Callable[[str], Settings]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    settings = built_family(FIRST_OF[family])
    refused = {recipe.name: proven(settings, recipe, tmp_path, monkeypatch) for recipe in RUNTIMES}
    stands = {recipe.name for recipe, families in RUNTIMES.items() if family in families}
    assert {name for name, reason in refused.items() if not reason} == stands, refused
