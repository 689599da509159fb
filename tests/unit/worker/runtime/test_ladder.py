"""Runtimes on the CPU with a tiny FLUX: proven, remembered, and left when they fail."""

import itertools
import tarfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker.runtime.conftest import clip, probe
from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobCancelledError, JobFailedError
from visgate_worker.runtime.proof import psnr_db
from visgate_worker.runtime.recipe import Cache, Policy, Recipe, Weights

if TYPE_CHECKING:
    from visgate_worker.runtime.ladder import LadderRuntime

FIRST_BLOCK, TAYLOR = Recipe(cache=Cache.FIRST_BLOCK), Recipe(cache=Cache.TAYLOR)


def names(runtime: "LadderRuntime") -> list[str]:
    return [one.runtime for one in runtime.report().fallbacks]


def draw(runtime: "LadderRuntime", *batch: Any) -> list[Any]:
    return runtime.generate(batch or [probe()], lambda _: None)


def test_without_a_wish_the_cpu_runs_the_eager_pipeline_and_tries_nothing(
    ladder_of: "Callable[..., LadderRuntime]",
) -> None:
    runtime = ladder_of(Policy.AUTO)
    assert (runtime.recipe, runtime.candidates, runtime.improve()) == (Recipe(), (), False)
    report = runtime.report()
    assert (report.name, report.device, report.family, report.fallbacks) == ("eager", "cpu", "flux", ())
    assert report.peak_memory_bytes is not None
    assert report.peak_memory_bytes > 50_000_000


def test_cached_steps_are_proven_used_remembered_and_leave_nothing_behind(
    ladder_of: "Callable[..., LadderRuntime]",
) -> None:
    runtime = ladder_of(Policy.CACHED)
    (expected,) = draw(runtime)
    assert runtime.improve()
    assert (runtime.recipe, runtime.report().fallbacks) == (FIRST_BLOCK, ())
    (made,) = draw(runtime)
    assert psnr_db(expected, made) >= 20
    (again,) = draw(runtime)
    assert psnr_db(made, again) == 100  # no state of the picture before
    few = probe(4)
    assert psnr_db(draw(ladder_of(Policy.EAGER), few)[0], draw(runtime, few)[0]) == 100  # too few steps for a cache
    # The next worker begins with it.
    assert ladder_of(Policy.CACHED).recipe == FIRST_BLOCK


@pytest.mark.parametrize("weights", [Weights.INT8, Weights.CAST])
def test_quantised_weights_draw_nearly_the_same(
    ladder_of: "Callable[..., LadderRuntime]", monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    from visgate_worker.runtime import ladder, parts

    monkeypatch.setattr(parts, "_MIN_FEATURES", 8)
    monkeypatch.setattr(ladder, "ladder", lambda *_: (Recipe(weights), Recipe()))
    runtime = ladder_of(Policy.QUANTISED)
    full = _weights(runtime)
    assert runtime.improve(), runtime.report()
    assert runtime.recipe == Recipe(weights)
    assert _weights(runtime) < full
    # Loaded with them, without the eager pipeline first.
    assert ladder_of(Policy.QUANTISED).recipe == Recipe(weights)


def _weights(runtime: "LadderRuntime") -> int:
    """Return the bytes of the denoiser's weights, as they are stored."""
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(runtime._eager.pipeline.transformer.state_dict(), buffer)
    return buffer.tell()


class Broken:
    """What goes wrong in a pipeline under a recipe."""

    def __init__(self, runtime: "LadderRuntime", how: str) -> None:
        self._draw: Callable[..., list[Any]] = runtime._eager.generate
        self._runtime = runtime
        self._how = how
        self.times = 0

    def __call__(self, batch: Sequence[Any], on_step: Callable[[int], None]) -> list[Any]:
        from PIL import Image

        if self._runtime.recipe.cache is not Cache.FIRST_BLOCK:
            return self._draw(batch, on_step)
        self.times += 1
        if self._how == "raises":
            message = "FluxPipeline failed: RuntimeError: no kernel"
            raise JobFailedError(message)
        if self._how == "refuses":
            message = "FluxPipeline refused the request: ValueError: x"
            raise JobFailedError(message, code=ErrorCode.INVALID_REQUEST)
        made = self._draw(batch, on_step)
        return [Image.new("RGB", one.size) if self._how == "black" else one.rotate(90) for one in made]


@pytest.mark.parametrize(
    ("how", "said"),
    [("raises", "no kernel"), ("black", "of one colour"), ("turned", r"dB from the eager one, and 20 dB are wanted")],
)
def test_a_runtime_that_fails_its_proof_is_left_for_the_next_one_and_not_tried_again(
    ladder_of: "Callable[..., LadderRuntime]", monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    import re

    runtime = ladder_of(Policy.CACHED)
    broken = Broken(runtime, how)
    monkeypatch.setattr(runtime._eager, "generate", broken)
    assert runtime.improve()
    assert runtime.recipe == TAYLOR
    (fallback,) = runtime.report().fallbacks
    assert fallback.runtime == "cached-first-block"
    assert re.search(said, fallback.reason)
    times = broken.times
    assert not runtime.improve()
    assert broken.times == times
    again = ladder_of(Policy.CACHED)
    assert (again.recipe, names(again), again.candidates) == (TAYLOR, ["cached-first-block"], ())


def test_what_is_no_faster_is_not_chosen_but_taken_where_it_was_asked_for(
    ladder_of: "Callable[..., LadderRuntime]",
) -> None:
    ticks = itertools.count()
    runtime = ladder_of(Policy.FAST, clock=lambda: float(next(ticks)))  # everything takes a second
    assert not runtime.improve()
    assert runtime.recipe == Recipe()
    assert [one.reason for one in runtime.report().fallbacks] == ["it is no faster: 1.000 s against 1.000 s"] * 2


def test_a_runtime_that_breaks_in_a_job_is_left_in_that_job_and_said_in_its_event(
    ladder_of: "Callable[..., LadderRuntime]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = ladder_of(Policy.CACHED)
    runtime.improve()
    monkeypatch.setattr(runtime._eager, "generate", Broken(runtime, "raises"))
    (made,) = draw(runtime)
    assert made.size == (16, 16)
    report = runtime.report()
    assert (report.name, names(runtime)) == ("eager", ["cached-first-block"])
    assert ladder_of(Policy.CACHED).recipe == Recipe()


def test_what_the_eager_pipeline_fails_at_too_is_no_fault_of_the_runtime(
    ladder_of: "Callable[..., LadderRuntime]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = ladder_of(Policy.CACHED)
    runtime.improve()

    def fail(*_: Any) -> list[Any]:
        message = "FluxPipeline failed: RuntimeError: broken weights"
        raise JobFailedError(message)

    with monkeypatch.context() as patched:
        patched.setattr(runtime._eager, "generate", fail)
        with pytest.raises(JobFailedError, match="broken weights"):
            draw(runtime)
    assert (runtime.recipe, names(runtime)) == (FIRST_BLOCK, [])


def test_a_request_that_the_pipeline_refuses_is_the_callers(
    ladder_of: "Callable[..., LadderRuntime]", monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = ladder_of(Policy.CACHED)
    runtime.improve()
    broken = Broken(runtime, "refuses")
    monkeypatch.setattr(runtime._eager, "generate", broken)
    with pytest.raises(JobFailedError) as caught:
        draw(runtime)
    assert (caught.value.code, broken.times, runtime.recipe) == (ErrorCode.INVALID_REQUEST, 1, FIRST_BLOCK)


def test_an_attempt_can_be_broken_off_and_what_ran_before_runs_on(ladder_of: "Callable[..., LadderRuntime]") -> None:
    runtime = ladder_of(Policy.CACHED)
    (expected,) = draw(runtime)

    def stop(step: int) -> None:
        if runtime.recipe == FIRST_BLOCK and step == 3:
            raise JobCancelledError

    with pytest.raises(JobCancelledError):
        runtime.improve(stop)
    assert runtime.recipe == Recipe()
    assert psnr_db(expected, draw(runtime)[0]) == 100


def test_pictures_drawn_at_once_are_those_drawn_alone(ladder_of: "Callable[..., LadderRuntime]") -> None:
    from dataclasses import replace

    runtime = ladder_of(Policy.EAGER)
    wishes = [replace(probe(4, prompt=words), seed=seed) for words, seed in (("a fox", 1), ("a hare", 2), ("a", 3))]
    together = draw(runtime, *wishes)
    assert runtime.report().batch == 3
    for wish, made in zip(wishes, together, strict=True):
        assert psnr_db(draw(runtime, wish)[0], made) > 40


def test_weights_can_travel_layer_by_layer(flux_folder: Any, ladder_of: "Callable[..., LadderRuntime]") -> None:
    from visgate_worker.runtime.eager import EagerRuntime
    from visgate_worker.runtime.recipe import Placement

    runtime = EagerRuntime()
    runtime.load(flux_folder, Placement.LAYERS)
    (made,) = runtime.generate([probe(4)], lambda _: None)
    assert psnr_db(draw(ladder_of(Policy.EAGER), probe(4))[0], made) > 40


def test_compiled_blocks_draw_the_same_and_their_code_is_kept_for_the_next_worker(
    ladder_of: "Callable[..., LadderRuntime]", tmp_path: Any
) -> None:
    """Compiles for some seconds: nothing smaller shows that the compiler, its cache and the way back work."""
    runtime = ladder_of(Policy.COMPILED, "wan")
    (expected,) = draw(runtime, clip())
    assert runtime.improve(), runtime.report()
    assert runtime.recipe == Recipe(compiled=True)
    assert psnr_db(expected, draw(runtime, clip())[0]) >= 28
    (archive,) = (tmp_path / ".visgate/compiled").glob("*.tar")
    with tarfile.open(archive) as kept:
        assert any(name.endswith(".so") for name in kept.getnames())
    runtime._use(Recipe())
    assert psnr_db(expected, draw(runtime, clip())[0]) == 100
    assert ladder_of(Policy.COMPILED, "wan").recipe == Recipe(compiled=True)
