"""Text to image, for every pipeline whose signature says that it draws from a prompt.

Stable Diffusion 1.x, 2.x and XL and other text-to-image pipelines share one calling convention and differ in which
arguments they take, which their signature tells.
"""

import inspect
from collections.abc import Mapping

from visgate_contract.capabilities import Capability, require_task
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Task, Text2ImgInput
from visgate_worker.adapters.base import Generation, parameters_of
from visgate_worker.failures import JobFailedError

_ALWAYS = ("prompt", "height", "width", "num_inference_steps", "generator")
_INPUTS_OF_OTHER_TASKS = frozenset({"image", "mask_image", "video"})
_FALLBACK_STEPS = 30


class TextToImage:
    """Adapter of `text2img`.

    Args:
        parameters: Signature of the pipeline's call.
        pipeline: Name of the class, for messages.
    """

    task = Task.TEXT2IMG

    def __init__(self, parameters: Mapping[str, inspect.Parameter], *, pipeline: str) -> None:
        self._parameters = parameters
        self._pipeline = pipeline

    @classmethod
    def for_pipeline(cls, pipeline: type, capability: Capability, *, model_id: str) -> "TextToImage":
        """Make the adapter for a pipeline class.

        Raises:
            ContractError: A listed class that does something else (`task_not_supported`).
            JobFailedError: A class that is not listed and whose signature is not that of text to image.
        """
        require_task(capability, Task.TEXT2IMG, model_id=model_id)
        parameters = parameters_of(pipeline)
        draws_from_text = all(name in parameters for name in _ALWAYS) and "num_frames" not in parameters
        if not capability.is_known:
            draws_from_text = draws_from_text and not _INPUTS_OF_OTHER_TASKS & parameters.keys()
        if not draws_from_text:
            detail = f"{model_id} is a {capability.pipeline} and cannot do {Task.TEXT2IMG}."
            raise JobFailedError(detail, hint="Choose a text-to-image model.", code=ErrorCode.TASK_NOT_SUPPORTED)
        return cls(parameters, pipeline=capability.pipeline)

    def plan(self, params: Text2ImgInput, *, seed: int) -> tuple[Generation, ...]:
        """Return one call a picture; the n-th has seed + n.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        wanted = {
            "prompt": params.prompt,
            "negative_prompt": params.negative_prompt,
            "width": params.width,
            "height": params.height,
            "num_inference_steps": params.steps,
            "guidance_scale": params.guidance_scale,
        }
        arguments = {name: value for name, value in wanted.items() if value is not None}
        for name in arguments:
            if name not in self._parameters:
                field = {"num_inference_steps": "steps"}.get(name, name)
                detail = f"params.{field}: {self._pipeline} takes no such value."
                raise JobFailedError(detail, hint="Leave it out.", code=ErrorCode.INVALID_REQUEST)
        default = self._parameters["num_inference_steps"].default
        steps = params.steps or (default if isinstance(default, int) else _FALLBACK_STEPS)
        arguments["num_inference_steps"] = steps
        return tuple(Generation(arguments, seed + n, steps) for n in range(params.num_images))
