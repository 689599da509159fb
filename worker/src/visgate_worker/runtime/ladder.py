"""The best way to execute a model that has been proven here, and down one rung whenever it fails.

A worker begins with the eager pipeline, or with what earlier workers have proven on the same GPU. `improve` tries what
might be better: it draws one picture with the eager pipeline and one with the candidate, and takes the candidate if its
picture is finite and close to the eager one; where nobody asked for this runtime by name it has to be faster, too. What
failed is remembered and not tried again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Fallback, RuntimeReport
from visgate_worker.adapters.base import Generation
from visgate_worker.failures import CALLERS_OWN, JobFailedError, summary
from visgate_worker.runtime import parts, proof
from visgate_worker.runtime.base import Clip, OnStep
from visgate_worker.runtime.compiled import CompiledCode
from visgate_worker.runtime.eager import EagerRuntime, free_memory
from visgate_worker.runtime.facts import facts_of
from visgate_worker.runtime.hardware import held_bytes, peak_bytes, start_peak
from visgate_worker.runtime.recipe import (
    CHOOSING,
    MIN_CACHED_STEPS,
    Cache,
    Hardware,
    Placement,
    Policy,
    Recipe,
    Weights,
    ladder,
)
from visgate_worker.runtime.sizes import Sizes
from visgate_worker.runtime.verdicts import Figures, Verdicts
from visgate_worker.safety import Checker

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What a ladder works with.

    Args:
        policy: What the operator wants.
        hardware: What runs the model.
        family: Family of the model, or its pipeline's class.
        verdicts: What is known of runtimes.
        compiled: Compiled code that outlives its worker.
        probe: A small picture to compare runtimes by; None for a model that makes none from words alone.
        steps: Steps that the model is run with when nobody says.
        multiple: Sides are multiples of this, in what is said to fit.
    """

    policy: Policy
    hardware: Hardware
    family: str
    verdicts: Verdicts
    compiled: CompiledCode
    probe: Generation | None = None
    steps: int = 30
    multiple: int = 8


@dataclass(slots=True)
class _State:
    recipe: Recipe = field(default_factory=Recipe)
    folder: Path = field(default_factory=Path)
    rungs: tuple[Recipe, ...] = ()
    fallbacks: list[Fallback] = field(default_factory=list)
    is_restored: bool = False
    is_tiled: bool = False


class LadderRuntime:
    """Runs a pipeline as well as this machine is known to be able to.

    Args:
        means: What it works with.
        clock: Seconds, for comparing runtimes.
    """

    def __init__(self, means: Means, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._means = means
        self._clock = clock
        self._eager = EagerRuntime()
        self._state = _State()
        self._sizes = Sizes(means.hardware, means.multiple)
        self._batch = 1

    @property
    def recipe(self) -> Recipe:
        """What runs the model now."""
        return self._state.recipe

    @property
    def checker(self) -> Checker | None:
        """The safety checker that the model brings along."""
        return self._eager.checker

    def class_of(self, pipeline: str) -> type:
        """Return the loaded class, or another of diffusers by its name."""
        return self._eager.class_of(pipeline)

    def report(self) -> RuntimeReport:
        """Say what runs the model, and the most memory held since the last report."""
        means, state = self._means, self._state
        return RuntimeReport(
            name=state.recipe.name,
            device=means.hardware.name,
            family=means.family,
            fallbacks=tuple(state.fallbacks),
            peak_memory_bytes=peak_bytes(means.hardware),
            batch=self._batch,
        )

    def load(self, folder: Path) -> None:
        """Load a model with the best recipe that is known to work here.

        Raises:
            JobFailedError: It cannot be loaded in any way.
        """
        means, state = self._means, self._state
        facts = facts_of(folder, item_bytes=self._eager.dtype.itemsize, steps=means.steps)
        state.folder, state.rungs = folder, ladder(means.policy, means.hardware, facts)
        for recipe in state.rungs[:-1]:
            known = means.verdicts.of(recipe)
            if known is not None and not known.is_proven:
                self._note(recipe, known.reason)
        self._descend(state.rungs)

    def _descend(self, rungs: Sequence[Recipe]) -> None:
        """Use the first of some rungs that is proven and can be used; the last one needs no proof."""
        for recipe in rungs[:-1]:
            known = self._means.verdicts.of(recipe)
            if known is not None and known.is_proven and self._attempt(recipe):
                return
        self._use(rungs[-1])

    @property
    def candidates(self) -> tuple[Recipe, ...]:
        """What might be better than what runs now, and has not been tried."""
        rungs = self._state.rungs
        better = rungs[: rungs.index(self.recipe)] if self.recipe in rungs else ()
        return tuple(one for one in better if self._means.verdicts.of(one) is None and not self._has_failed(one))

    def _has_failed(self, recipe: Recipe) -> bool:
        return any(one.runtime == recipe.name for one in self._state.fallbacks)

    def improve(self, check: OnStep = lambda _: None) -> bool:
        """Try what might be better; takes as long as a few small pictures, and compilation.

        Args:
            check: Called after each step; raising ends the attempt, and what ran before runs on.

        Returns:
            Whether another recipe runs from now on.
        """
        self._eager.take_off()
        before, candidates, probe = self.recipe, self.candidates, self._means.probe
        if not candidates or probe is None:
            self._settle()
            return False
        try:
            is_better = any(self._prove(recipe, probe, check) for recipe in candidates)
        except BaseException:
            self._use(before)
            raise
        self._means.compiled.keep()
        if not is_better:
            self._descend(self._state.rungs)
        return self.recipe != before

    def _settle(self) -> None:
        """Keep what has been compiled for sizes that were new."""
        if self.recipe.compiled:
            self._means.compiled.keep()

    def _prove(self, recipe: Recipe, probe: Generation, check: OnStep) -> bool:
        self._use(self._state.rungs[-1])
        self._timed(probe, check)
        expected, eager_s = self._timed(probe, check)
        if not self._attempt(recipe):
            return False
        try:
            first, _ = self._timed(probe, check)
            made, seconds = self._timed(probe, check)
        except (JobFailedError, torch.OutOfMemoryError) as error:
            self._refuse(recipe, summary(error.__cause__ or error), of_family=True)
            return False
        close = min(proof.psnr_db(expected, one) for one in (first, made))
        figures = Figures(psnr_db=round(close, 2), seconds=round(seconds, 4), eager_s=round(eager_s, 4))
        flaw = proof.flaw_of([first, made])
        if flaw is None and close < proof.floor_db(recipe):
            flaw = f"its picture is {close:.1f} dB from the eager one, and {proof.floor_db(recipe):g} dB are wanted"
        if (
            flaw is None
            and self._means.policy in CHOOSING
            and not self._state.rungs[-1].is_for_memory
            and seconds >= eager_s
        ):
            flaw = f"it is no faster: {seconds:.3f} s against {eager_s:.3f} s"
        if flaw is not None:
            self._refuse(recipe, flaw, figures=figures)
            return False
        said = f"{close:.1f} dB from the eager picture, {seconds:.3f} s against {eager_s:.3f} s"
        self._means.verdicts.keep(recipe, is_proven=True, reason=said, figures=figures)
        log.info("the runtime %s is proven: %s", recipe.name, said)
        return True

    def _timed(self, probe: Generation, check: OnStep) -> "tuple[Image | Clip, float]":
        began = self._clock()
        (made,) = self._draw([probe], check)
        return made, self._clock() - began

    def generate(self, batch: Sequence[Generation], on_step: OnStep) -> "list[Image | Clip]":
        """Run one call; when the runtime fails, run it again with the next one down.

        Raises:
            JobFailedError: The pipeline refused the values, failed even when run eagerly, or memory does not suffice.
        """
        start_peak(self._means.hardware)
        self._batch = len(batch)
        failed: list[tuple[Recipe, str]] = []
        while True:
            made, flaw = self._tried(batch, on_step, failed)
            if made is not None and flaw is None:
                for recipe, reason in failed:
                    self._refuse(recipe, reason, of_family=True)
                hardware = self._means.hardware
                self._sizes.note(batch, peak_bytes=peak_bytes(hardware), held_bytes=held_bytes(hardware))
                return made
            if flaw is None:
                self._make_room(batch)  # outside of the handler, which holds what was being computed
                continue
            rungs, recipe = self._state.rungs, self.recipe
            failed.append((recipe, flaw))
            self._descend(rungs[rungs.index(recipe) + 1 :])

    def _tried(
        self, batch: Sequence[Generation], on_step: OnStep, failed: Sequence[tuple[Recipe, str]]
    ) -> "tuple[list[Image | Clip] | None, str | None]":
        """Return pictures, or what is wrong with the runtime; neither if memory did not suffice."""
        is_last = self.recipe == self._state.rungs[-1]
        try:
            made = self._draw(batch, on_step)
        except torch.OutOfMemoryError:
            return None, None
        except JobFailedError as error:
            if error.code not in CALLERS_OWN and not is_last:
                return None, summary(error.__cause__ or error)
            if failed:  # the eager pipeline fails as well, so the runtime was not to blame
                self._use(failed[0][0])
            raise
        return made, None if is_last else proof.flaw_of(made)

    def _draw(self, batch: Sequence[Generation], on_step: OnStep) -> "list[Image | Clip]":
        pipeline = self._eager.pipeline
        uses_cache = (
            self.recipe.cache is not Cache.NONE
            and batch[0].steps >= MIN_CACHED_STEPS
            and batch[0].pipeline in {None, type(pipeline).__name__}  # others do not tell a cache where they are
        )
        if self.recipe.cache is not Cache.NONE:
            parts.set_cache(pipeline, self.recipe.cache if uses_cache else Cache.NONE)
        try:
            with parts.uncompiled() if self.recipe.compiled and batch[0].loras else nullcontext():
                return self._eager.generate(batch, on_step)
        finally:
            if uses_cache:
                parts.set_cache(pipeline, Cache.NONE)

    def _make_room(self, batch: Sequence[Generation]) -> None:
        """Need less memory from now on: decode in tiles, then put the weights where they take less of the GPU.

        Raises:
            JobFailedError: All of that is done already; says what would fit.
        """
        free_memory()
        vae: Any = getattr(self._eager.pipeline, "vae", None)
        if vae is not None and not self._state.is_tiled and hasattr(vae, "enable_tiling"):
            vae.enable_tiling()
            self._state.is_tiled = True
            log.warning("memory does not suffice: pictures are decoded in tiles from now on")
            return
        places = list(Placement)
        below = places[places.index(self._eager.placement) + 1 :]
        if not self._means.hardware.is_gpu or not below or len(batch) > 1:
            raise self._sizes.too_large(batch, held_bytes=held_bytes(self._means.hardware))
        log.warning("memory does not suffice: the model's weights move to the GPU as they are needed from now on")
        self._note(self.recipe, "the GPU's memory did not suffice")
        self._state.rungs = (Recipe(placement=below[0]),)
        self._use(self._state.rungs[0])

    def _attempt(self, recipe: Recipe) -> bool:
        try:
            self._use(recipe)
        except Exception as error:  # noqa: BLE001, libraries raise anything when they cannot do it
            self._refuse(recipe, summary(error), of_family=True)
            return False
        return True

    def _use(self, recipe: Recipe) -> None:
        """Make the pipeline what a recipe says; loads it again where its weights are others."""
        eager, state = self._eager, self._state
        eager.take_off()
        is_loaded = eager.pipeline is not None
        if is_loaded:
            parts.undo(eager.pipeline, state.recipe, self._means.hardware)
        if not is_loaded or (state.recipe.weights, state.recipe.placement) != (recipe.weights, recipe.placement):
            wanted, recipe = recipe, self._load(recipe)
            state.is_tiled = False
            if recipe != wanted:  # the GPU has less memory than was thought
                state.rungs = (recipe,)
        state.recipe = recipe
        if recipe.compiled and not state.is_restored:
            self._means.compiled.restore()
            state.is_restored = True
        parts.apply(eager.pipeline, recipe, self._means.hardware)

    def _load(self, recipe: Recipe) -> Recipe:
        """Bring the weights there; further away if the GPU's memory does not suffice. Returns what was loaded."""
        places, prepare = list(Placement), None
        if recipe.weights is not Weights.FULL:
            device = self._means.hardware.device if recipe.placement is Placement.DEVICE else "cpu"

            def prepare(pipeline: Any) -> None:
                for part in parts.denoisers(pipeline):
                    parts.quantise(part, recipe.weights, device=device)

        for place in places[places.index(recipe.placement) :]:
            try:
                self._eager.load(self._state.folder, place, prepare=prepare)
            except torch.OutOfMemoryError:
                self._eager.unload()
                continue
            return recipe if place is recipe.placement else Recipe(recipe.weights, place)
        detail = "The GPU's memory does not suffice for this model."
        raise JobFailedError(detail, hint="Use a larger GPU.", code=ErrorCode.MODEL_LOAD_FAILED)

    def _refuse(self, recipe: Recipe, reason: str, *, of_family: bool = False, figures: Figures | None = None) -> None:
        log.warning("the runtime %s is not used: %s", recipe.name, reason)
        self._means.verdicts.keep(recipe, is_proven=False, reason=reason, of_family=of_family, figures=figures)
        self._note(recipe, reason)

    def _note(self, recipe: Recipe, reason: str) -> None:
        self._state.fallbacks.append(Fallback(runtime=recipe.name, reason=reason))
