"""The pipeline as its authors wrote it, on CUDA or the CPU: works for every model.

When the GPU's memory does not suffice, the parts of the pipeline move to the GPU one at a time from then on.
"""

import inspect
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers

from visgate_contract.errors import ErrorCode, VisgateError
from visgate_worker.adapters.base import Generation
from visgate_worker.adapters.signatures import signature_of
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.runtime.base import Clip, OnStep
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
        self.device, self._dtype = best_device()
        self._loaded: Any = None
        self._made_of_it: dict[str, Any] = {}
        self._offloads = False
        self._offloaded: Any = None
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()

    def class_of(self, pipeline: str) -> type:
        """Return the loaded class, or another of diffusers by its name."""
        loaded = type(self._loaded)
        found: type = loaded if pipeline == loaded.__name__ else getattr(diffusers, pipeline, loaded)
        return found

    def load(self, folder: Path) -> None:
        """Load from a diffusers folder; on CUDA straight to the device.

        Raises:
            JobFailedError: The folder holds no pipeline that diffusers can build (`model_load_failed`).
        """
        variant = ModelFolder(folder, "volume").variant()
        placement = {"device_map": "cuda"} if self.device == "cuda" else {}
        try:
            self._loaded = diffusers.DiffusionPipeline.from_pretrained(
                folder, dtype=self._dtype, variant=variant, local_files_only=True, **placement
            )
        except torch.OutOfMemoryError:
            self._loaded = diffusers.DiffusionPipeline.from_pretrained(
                folder, dtype=self._dtype, variant=variant, local_files_only=True
            )
            self._offload()
        except Exception as error:
            detail = f"The model could not be loaded: {summary(error)}"
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED) from error
        self._loaded.set_progress_bar_config(disable=True)

    def generate(self, generation: Generation, on_step: OnStep) -> "Image | Clip":
        """Run one call, with its own random generator on the CPU, so that every device draws the same noise.

        Raises:
            JobFailedError: The pipeline refused the values (`invalid_request`), failed, or withheld the picture.
        """
        try:
            return self._call(generation, on_step)
        except torch.OutOfMemoryError:
            if self.device == "cpu" or self._offloads:
                detail = "The GPU's memory does not suffice for this picture."
                raise JobFailedError(detail, hint="Ask for a smaller picture or use a larger GPU.") from None
        self._offload()
        return self._call(generation, on_step)

    def _offload(self) -> None:
        log.warning("the GPU's memory does not suffice: parts of the model move to it one at a time from now on")
        torch.cuda.empty_cache()
        self._loaded.reset_device_map()
        self._made_of_it.clear()
        self._offloads = True

    def _pipeline(self, name: str | None) -> Any:
        """Return the pipeline of a class: the loaded one, or one of the same parts, which costs no memory."""
        if name is None or name == type(self._loaded).__name__:
            found = self._loaded
        else:
            if name not in self._made_of_it:
                self._made_of_it[name] = of_the_same_parts(self._loaded, self.class_of(name))
                self._made_of_it[name].set_progress_bar_config(disable=True)
            found = self._made_of_it[name]
        if self._offloads and self._offloaded is not found:
            # The order in which parts move belongs to the pipeline; its hooks replace those of the one before.
            found.enable_model_cpu_offload()
            self._offloaded = found
        return found

    def _call(self, generation: Generation, on_step: OnStep) -> "Image | Clip":
        steps_done = 0

        def after_step(_pipeline: object, step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal steps_done
            steps_done = step + 1
            on_step(steps_done)
            return tensors

        pipeline = self._pipeline(generation.pipeline)
        name = type(pipeline).__name__
        arguments = dict(generation.arguments)
        takes = signature_of(type(pipeline)).takes
        if "callback_on_step_end" in takes:
            arguments["callback_on_step_end"] = after_step
        elif "callback" in takes:  # older pipelines
            arguments["callback"] = lambda step, timestep, _latents: after_step(None, step, timestep, {})
        arguments["generator"] = torch.Generator("cpu").manual_seed(generation.seed)
        try:
            output = pipeline(**arguments)
        except (VisgateError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            refused = steps_done == 0 and isinstance(error, ValueError)
            code = ErrorCode.INVALID_REQUEST if refused else ErrorCode.GENERATION_FAILED
            detail = f"{name} {'refused the request' if refused else 'failed'}: {summary(error)}"
            raise JobFailedError(detail, code=code) from error
        if generation.fps is not None:
            return Clip(output.frames[0], generation.fps)
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            detail = "The model's safety checker withheld the picture."
            raise JobFailedError(detail, hint="Change the prompt or the seed.", code=ErrorCode.INVALID_REQUEST)
        picture: Image = output.images[0]
        return picture
