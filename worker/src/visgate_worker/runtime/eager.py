"""The pipeline as its authors wrote it, on CUDA or the CPU: works for every model."""

import gc
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers

from visgate_contract.errors import ErrorCode, VisgateError
from visgate_worker.adapters.base import PER_PICTURE, Generation
from visgate_worker.adapters.signatures import signature_of
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.runtime.alterations import LaidOver, scheduled, taken_checker
from visgate_worker.runtime.base import Clip, OnStep
from visgate_worker.runtime.recipe import Placement
from visgate_worker.safety import Checker
from visgate_worker.sources.folder import ModelFolder

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


def best_device() -> tuple[str, torch.dtype]:
    """Return where to run and in which precision: bfloat16 where the GPU has it, float32 on the CPU."""
    if not torch.cuda.is_available():
        return "cpu", torch.float32
    return "cuda", torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def import_pipeline(name: str) -> None:
    """Import a pipeline class and what it needs, which diffusers does late; a name it does not have is left alone."""
    getattr(diffusers, name, None)


def of_the_same_parts(loaded: Any, pipeline: type) -> Any:
    """Return a pipeline of another class that shares the parts of a loaded one.

    `from_pipe` would do so, too, but casts every part to one precision, and parts of some models have to keep theirs.
    """
    known = {**loaded.config, **loaded.components}
    wanted = inspect.signature(pipeline).parameters
    return pipeline(**{name: known[name] for name in wanted if name in known})


class EagerRuntime:
    """Runs a diffusers pipeline without any optimisation of our own."""

    def __init__(self) -> None:
        self.device, self.dtype = best_device()
        self.placement = Placement.DEVICE
        self._loaded: Any = None
        self._made_of_it: dict[str, Any] = {}
        self._offloaded: Any = None
        self._laid = LaidOver()
        self.checker: Checker | None = None
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()

    @property
    def pipeline(self) -> Any:
        """The loaded pipeline."""
        return self._loaded

    def class_of(self, pipeline: str) -> type:
        """Return the loaded class, or another of diffusers by its name."""
        loaded = type(self._loaded)
        found: type = loaded if pipeline == loaded.__name__ else getattr(diffusers, pipeline, loaded)
        return found

    def load(
        self,
        folder: Path,
        placement: Placement = Placement.DEVICE,
        *,
        prepare: Callable[[Any], object] | None = None,
    ) -> None:
        """Load from a diffusers folder; on CUDA straight to the device, unless its weights are to be elsewhere.

        Args:
            folder: The model.
            placement: Where its weights are while nothing needs them.
            prepare: Changes the pipeline before its weights go there.

        Raises:
            JobFailedError: The folder holds no pipeline that diffusers can build (`model_load_failed`).
            torch.OutOfMemoryError: The GPU's memory does not suffice.
        """
        self.unload()
        goes_there = self.device == "cuda" and placement is Placement.DEVICE
        straight = {"device_map": "cuda"} if goes_there and prepare is None else {}
        try:
            self._loaded = diffusers.DiffusionPipeline.from_pretrained(
                folder,
                dtype=self.dtype,
                variant=ModelFolder(folder, "volume").variant(),
                local_files_only=True,
                **straight,
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            detail = f"The model could not be loaded: {summary(error)}"
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED) from error
        self._loaded.set_progress_bar_config(disable=True)
        self.checker = taken_checker(self._loaded)
        self.placement = placement
        if prepare is not None:
            prepare(self._loaded)
            if goes_there:
                self._loaded.to(self.device)
        if placement is Placement.LAYERS:
            device = torch.device(self.device)
            self._loaded.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")

    def unload(self) -> None:
        """Let go of the model and of the memory that it took."""
        self.take_off()
        self._made_of_it.clear()
        self._loaded = self._offloaded = None
        free_memory()

    def take_off(self) -> None:
        """Take off the weights that were laid over the model's for an earlier call."""
        self._laid.change(None, ())

    def generate(self, batch: Sequence[Generation], on_step: OnStep) -> "list[Image | Clip]":
        """Run one call, each picture with its own random generator on the CPU, so that every device draws the same.

        Raises:
            JobFailedError: The pipeline refused the values (`invalid_request`) or failed.
            torch.OutOfMemoryError: The GPU's memory does not suffice.
        """
        steps_done = 0

        def after_step(_pipeline: object, step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal steps_done
            # Some schedulers look at the model more than once for a step.
            looks = getattr(pipeline, "num_timesteps", None) or first.steps
            steps_done = min(first.steps, math.ceil((step + 1) * first.steps / looks))
            on_step(steps_done)
            return tensors

        first = batch[0]
        pipeline = self._pipeline(first.pipeline)
        arguments = _together(batch)
        takes = signature_of(type(pipeline)).takes
        if "callback_on_step_end" in takes:
            arguments["callback_on_step_end"] = after_step
        elif "callback" in takes:  # older pipelines
            arguments["callback"] = lambda step, timestep, _latents: after_step(None, step, timestep, {})
        try:
            self._laid.change(pipeline, first.loras)
            with scheduled(pipeline, first.scheduler):
                output = pipeline(**arguments)
        except (VisgateError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(str(error)) from error
            refused = steps_done == 0 and isinstance(error, ValueError)
            code = ErrorCode.INVALID_REQUEST if refused else ErrorCode.GENERATION_FAILED
            detail = f"{type(pipeline).__name__} {'refused the request' if refused else 'failed'}: {summary(error)}"
            raise JobFailedError(detail, code=code) from error
        if first.fps is not None:
            return [Clip(frames, first.fps) for frames in output.frames]
        return list(output.images)

    def _pipeline(self, name: str | None) -> Any:
        """Return the pipeline of a class: the loaded one, or one of the same parts, which costs no memory."""
        if name is None or name == type(self._loaded).__name__:
            found = self._loaded
        else:
            if name not in self._made_of_it:
                self._made_of_it[name] = of_the_same_parts(self._loaded, self.class_of(name))
                self._made_of_it[name].set_progress_bar_config(disable=True)
            found = self._made_of_it[name]
        if self.placement is Placement.PARTS and self._offloaded is not found:
            # The order in which parts move belongs to the pipeline; its hooks replace those of the one before.
            found.enable_model_cpu_offload()
            self._offloaded = found
        return found


def _together(batch: Sequence[Generation]) -> dict[str, Any]:
    """Return the arguments of one call that makes several pictures, which differ in prompt and seed alone."""
    arguments = dict(batch[0].arguments)
    generators = [torch.Generator("cpu").manual_seed(one.seed) for one in batch]
    arguments["generator"] = generators[0] if len(batch) == 1 else generators
    if len(batch) > 1:
        for name in PER_PICTURE & arguments.keys():
            arguments[name] = [one.arguments[name] for one in batch]
    return arguments


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory did not suffice, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def free_memory() -> None:
    """Give back what no object holds any more, to the GPU's driver too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
