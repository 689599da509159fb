"""A tiny FLUX pipeline, which can be compiled, cached and quantised, and runtimes for it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visgate_worker.adapters.base import Generation
from visgate_worker.runtime.recipe import Hardware, Policy

if TYPE_CHECKING:
    from visgate_worker.runtime.ladder import LadderRuntime

CPU = Hardware("cpu", "cpu")


def probe(steps: int = 12, **more: Any) -> Generation:
    """Return a call that is done in a moment."""
    arguments = {"prompt": "a red fox", "width": 16, "height": 16, "num_inference_steps": steps} | more
    return Generation(arguments, seed=7, steps=steps)


def clip(steps: int = 2) -> Generation:
    """Return a call of the tiny Wan, whose denoiser has one kind of block, and so little to compile."""
    arguments = {"prompt": "a fox", "width": 16, "height": 16, "num_frames": 5, "output_type": "np"}
    return Generation(arguments | {"num_inference_steps": steps}, seed=7, steps=steps, fps=8)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of libraries, while they are imported
                import torch

                from bench import gpu_models

                torch.set_num_threads(1)  # threads that wait for one another are slower than one where others run, too

                gpu_models.build(name, tiny=True).save_pretrained(made[name])
        return made[name]

    return build


@pytest.fixture
def flux_folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("flux")


@pytest.fixture
def ladder_of(folder_of: Callable[[str], Path], tmp_path: Path) -> "Callable[..., LadderRuntime]":
    """Load a tiny model under a policy; its verdicts are kept from one call to the next."""
    from visgate_worker.runtime.compiled import CompiledCode
    from visgate_worker.runtime.ladder import LadderRuntime, Means
    from visgate_worker.runtime.verdicts import Verdicts

    def load(policy: Policy, name: str = "flux", **more: Any) -> LadderRuntime:
        verdicts = Verdicts(tmp_path, gpu="cpu", family=name, model="tiny", versions="1")
        compiled = CompiledCode(tmp_path, tmp_path / "local", key="cpu")
        means = Means(policy, CPU, name, verdicts, compiled, probe=probe() if name == "flux" else clip(), steps=28)
        made = LadderRuntime(means, **more)
        made.load(folder_of(name))
        return made

    return load
