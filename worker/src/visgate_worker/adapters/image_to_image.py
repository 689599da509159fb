"""Image to image: the same parts as text to image, called through the family's class that begins from a picture."""

import math
from typing import TYPE_CHECKING, Any

from visgate_contract.capabilities import Capability, require_task
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import MAX_SIDE, MIN_SIDE, Image2ImgInput, Task
from visgate_worker.adapters.base import (
    ForPipeline,
    Generation,
    cannot,
    check_multiple,
    common_arguments,
    parameters_of,
    refuse_field,
)
from visgate_worker.adapters.families import Traits, image_traits
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from PIL.Image import Image

_ALWAYS = ("prompt", "image", "num_inference_steps", "generator")
_INPUTS_OF_OTHER_TASKS = frozenset({"mask_image", "video", "num_frames"})


class ImageToImage(ForPipeline[Traits]):
    """Adapter of `image2img`."""

    task = Task.IMAGE2IMG

    @classmethod
    def for_pipeline(
        cls, pipeline: type, capability: Capability, *, model_id: str, is_step_distilled: bool = False
    ) -> "ImageToImage":
        """Make the adapter for a pipeline class that begins from a picture.

        Raises:
            ContractError: A listed class that does something else (`task_not_supported`).
            JobFailedError: A class that is not listed and whose signature is not that of image to image.
        """
        require_task(capability, Task.IMAGE2IMG, model_id=model_id)
        parameters = parameters_of(pipeline)
        begins_from_a_picture = all(name in parameters for name in _ALWAYS)
        if not begins_from_a_picture or _INPUTS_OF_OTHER_TASKS & parameters.keys():
            raise cannot(Task.IMAGE2IMG, capability, model_id=model_id)
        traits = image_traits(capability.family, is_step_distilled=is_step_distilled)
        return cls(parameters, pipeline=pipeline.__name__, traits=traits)

    def plan(self, params: Image2ImgInput, *, seed: int, image: "Image | None" = None) -> tuple[Generation, ...]:
        """Return one call a picture; the n-th has seed + n.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        if image is None:
            detail = "params.image: the picture to begin from is missing."
            raise JobFailedError(detail, hint="Give its URL.", code=ErrorCode.INVALID_REQUEST)
        multiple = self._traits.multiple
        check_multiple("width", params.width, multiple, pipeline=self._pipeline)
        check_multiple("height", params.height, multiple, pipeline=self._pipeline)
        arguments = common_arguments(params, self._traits, self._parameters, pipeline=self._pipeline)
        steps: int = arguments["num_inference_steps"]
        strength = self._strength(params)
        if strength is not None:
            arguments["strength"] = strength
            steps = self._steps_of(steps, strength)
        width, height = fitting(image.size, width=params.width, height=params.height, multiple=multiple)
        arguments["image"] = _fitted(image, width, height)
        sides: dict[str, Any] = {"width": width, "height": height}
        arguments |= {name: value for name, value in sides.items() if name in self._parameters}
        return tuple(Generation(arguments, seed + n, steps, self._pipeline) for n in range(params.num_images))

    def _strength(self, params: Image2ImgInput) -> float | None:
        if "strength" in self._parameters:
            default: float = self._parameters["strength"].default
            return default if params.strength is None else params.strength
        if params.strength is not None:
            raise refuse_field(field="strength", pipeline=self._pipeline)
        return None

    def _steps_of(self, steps: int, strength: float) -> int:
        """Return how many of the steps are left to do: the first ones are what strength leaves out."""
        left = int(steps * strength)
        if left < 1:
            detail = f"params.strength: {strength:g} of {steps} steps is less than one step."
            hint = f"Ask for at least {math.ceil(1 / strength)} steps, or more strength."
            raise JobFailedError(detail, hint=hint, code=ErrorCode.INVALID_REQUEST)
        return left


def fitting(size: tuple[int, int], *, width: int | None, height: int | None, multiple: int) -> tuple[int, int]:
    """Return the size to draw in: as asked, else that of the picture, within the schema's bounds.

    Args:
        size: Width and height of the picture.
        width: As asked, if it was; a side that was not follows from the other by the picture's shape.
        height: As asked, if it was.
        multiple: Of which sides that were not asked for become a multiple.
    """
    own_width, own_height = size
    if width is None and height is None:
        scale = min(1.0, MAX_SIDE / max(size))
        return _side(own_width * scale, multiple), _side(own_height * scale, multiple)
    if width is None:
        return _side(own_width * (height or own_height) / own_height, multiple), height or own_height
    return width, _side(own_height * width / own_width, multiple) if height is None else height


def _side(length: float, multiple: int) -> int:
    rounded = int(length + 0.5) // multiple * multiple
    return max(math.ceil(MIN_SIDE / multiple) * multiple, min(rounded, MAX_SIDE // multiple * multiple))


def _fitted(image: "Image", width: int, height: int) -> "Image":
    from PIL import Image, ImageOps  # noqa: PLC0415, loaded when there is a picture

    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
