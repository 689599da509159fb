"""Text to image, for every pipeline whose signature says that it draws from a prompt.

Picture pipelines share one calling convention. Which arguments a class takes its signature tells; what the families
differ in beyond that is in `families`.
"""

from typing import TYPE_CHECKING

from visgate_contract.capabilities import Capability, require_task
from visgate_contract.tasks import Task, Text2ImgInput
from visgate_worker.adapters.base import (
    ForPipeline,
    Generation,
    cannot,
    check_multiple,
    common_arguments,
    parameters_of,
)
from visgate_worker.adapters.families import Traits, image_traits

if TYPE_CHECKING:
    from PIL.Image import Image

_ALWAYS = ("prompt", "height", "width", "num_inference_steps", "generator")
_INPUTS_OF_OTHER_TASKS = frozenset({"image", "mask_image", "video"})


class TextToImage(ForPipeline[Traits]):
    """Adapter of `text2img`."""

    task = Task.TEXT2IMG

    @classmethod
    def for_pipeline(
        cls, pipeline: type, capability: Capability, *, model_id: str, is_step_distilled: bool = False
    ) -> "TextToImage":
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
            raise cannot(Task.TEXT2IMG, capability, model_id=model_id)
        traits = image_traits(capability.family, is_step_distilled=is_step_distilled)
        return cls(parameters, pipeline=capability.pipeline, traits=traits)

    def plan(self, params: Text2ImgInput, *, seed: int, image: "Image | None" = None) -> tuple[Generation, ...]:  # noqa: ARG002, the task has no image
        """Return one call a picture; the n-th has seed + n.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        traits = self._traits
        check_multiple("width", params.width, traits.multiple, pipeline=self._pipeline)
        check_multiple("height", params.height, traits.multiple, pipeline=self._pipeline)
        arguments = common_arguments(params, traits, self._parameters, pipeline=self._pipeline)
        sides = {"width": params.width, "height": params.height}
        arguments |= {name: value for name, value in sides.items() if value is not None}
        steps: int = arguments["num_inference_steps"]
        return tuple(Generation(arguments, seed + n, steps) for n in range(params.num_images))
