"""The page of the model families: what each can do and takes, and how that is known."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.unit.worker.families.cases import CASES, RUNTIMES
from visgate_contract.capabilities import LISTED
from visgate_contract.families import FAMILIES, Family, Traits
from visgate_contract.pipelines import Signature, signature_of
from visgate_contract.tasks import Task
from visgate_worker.runtime.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "families.md"
ON_GPU = ROOT / "bench" / "results_gpu.json"
GPU_MODELS = {Family.STABLE_DIFFUSION_XL: "sdxl", Family.FLUX: "flux", Family.WAN: "wan"}
WRITTEN = "<!-- Written by `make docs` from the tables that the worker, the gateway and the tests share. -->"
INTRODUCTION = """\
A model's class in `model_index.json` and its parts' configurations decide its family, never its name. The same table
serves the worker and the gateway's preflight, so what a model cannot do is refused before anything is created, with
what it can do instead. A pipeline that is not listed, that diffusers has and that takes a prompt, works by its
signature; `LatentConsistencyModelPipeline` and `MochiPipeline` are run by the tests for that.

How it is known: each task of each class below is done by a tiny pipeline with random weights on the CPU, through the
whole worker, from the task's schema to the stored file, in every run of the tests: same seed, same bytes; another
seed, prompt or picture, others; what is not taken is refused by name. So are LoRA weights and each scheduler, with one
model of each family."""
RUNTIME_NOTE = """\
A runtime acts on the part that runs at every step, which all tasks of a family share. *proven* says that a test has
the family's tiny pipeline draw with it on the CPU: finite, of more than one colour, and as close to the eager picture
as the worker asks for before it uses a runtime. *not used* says that it does not pass there: workers stay with the
eager pipeline, and say why in the event. On a GPU each worker proves a runtime anew before its jobs meet it.
`compiled` is proven for Wan alone: on a CPU it takes a minute."""


def page() -> str:
    """Return the text of the page."""
    return (
        "\n\n".join(
            [
                WRITTEN,
                "# Model families",
                INTRODUCTION,
                "## Tasks",
                _table(("family", *Task), (_tasks(family) for family in Family)),
                "## What they take",
                "`width` and `height` are multiples of the second column. Left-out values are the family's own.",
                _table(
                    ("family", "multiple of", "most pixels", "frames", "fps", "guidance", "negative prompt", "LoRA"),
                    (_bounds(family) for family in Family),
                ),
                "Schedulers by name (`scheduler`); left out, the model's own:",
                _table(("family", "schedulers"), (_schedulers(family) for family in Family)),
                "## Runtimes",
                RUNTIME_NOTE,
                _table(
                    ("family", "eager", *(recipe.name for recipe in RUNTIMES), "on a GPU"),
                    (_runtimes(family) for family in Family),
                ),
                "`make bench-gpu` measures them on a GPU.",
            ]
        )
        + "\n"
    )


def classes_of(family: Family) -> dict[Task, list[str]]:
    """Return the classes that do each task of a family."""
    found: dict[Task, list[str]] = {}
    for listed, routes in LISTED.values():
        if listed is family:
            for task, name in routes.items():
                if name not in found.setdefault(task, []):
                    found[task].append(name)
    return found


def _tasks(family: Family) -> Sequence[str]:
    classes = classes_of(family)
    return (
        f"`{family}`",
        *("<br>".join(f"`{name.removesuffix('Pipeline')}`" for name in classes.get(task, ())) for task in Task),
    )


def _signatures(family: Family) -> Iterator[tuple[str, Signature]]:
    for names in classes_of(family).values():
        for name in names:
            if (signature := signature_of(name)) is not None:
                yield name, signature


def _bounds(family: Family) -> Sequence[str]:
    traits = FAMILIES[family]
    multiples = sorted({case.multiple for case in CASES if case.family is family})
    signatures = dict(_signatures(family))
    return (
        f"`{family}`",
        " or ".join(str(one) for one in multiples),
        f"{traits.max_pixels:,}",
        _frames(traits) if any(task.makes_clips for task in classes_of(family)) else "",
        str(traits.fps) if any(task.makes_clips for task in classes_of(family)) else "",
        _some(traits.guidance in one.takes for one in signatures.values()),
        _some("negative_prompt" in one.takes for one in signatures.values()),
        _some(one.has_loras for one in signatures.values()),
    )


def _some(which: Iterator[bool]) -> str:
    found = set(which)
    return "yes" if found == {True} else "some" if True in found else ""


def _frames(traits: Traits) -> str:
    step = f"multiples of {traits.frame_step} plus 1, " if traits.frame_step > 1 else ""
    return f"{step}up to {traits.max_frames}"


def _schedulers(family: Family) -> Sequence[str]:
    return f"`{family}`", ", ".join(f"`{name}`" for name in sorted(FAMILIES[family].schedulers)) or "none"


def _runtimes(family: Family) -> Sequence[str]:
    return (
        f"`{family}`",
        "every task",
        *("proven" if family in families else "not used" for families in RUNTIMES.values()),
        _on_gpu(family),
    )


def _on_gpu(family: Family) -> str:
    measured = json.loads(ON_GPU.read_text(encoding="utf-8")) if ON_GPU.exists() else []
    found = sorted({f"{one['device']}: {one['runtime']}" for one in measured if one["model"] == GPU_MODELS.get(family)})
    return "<br>".join(found) or "not yet run"


def _table(head: Sequence[str | Recipe], rows: Iterator[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(str(one) for one in head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)
