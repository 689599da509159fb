"""From the input of a task to calls of a pipeline class, by what the class takes and its family wants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from visgate_contract.bounds import check_input, steps_done, steps_of, strength_of
from visgate_contract.capabilities import Route
from visgate_contract.tasks import ClipInput, Prompted, TaskInput
from visgate_worker.adapters.base import Generation, LoraFile
from visgate_worker.adapters.pictures import fitted, fitting

if TYPE_CHECKING:
    from PIL.Image import Image

_ARGUMENTS = {"image": "image", "mask": "mask_image"}  # field of an input → argument of a call


@dataclass(frozen=True, slots=True)
class Adapter:
    """Turns the input of one task into calls of one pipeline class.

    Args:
        route: How the model does the task.
    """

    route: Route

    def plan(
        self,
        params: TaskInput,
        *,
        seed: int,
        images: "Mapping[str, Image] | None" = None,
        loras: tuple[LoraFile, ...] = (),
    ) -> tuple[Generation, ...]:
        """Return one call for each picture or clip; the n-th has seed + n.

        Args:
            params: The task's input.
            seed: Seed of the first call.
            images: The pictures that the input refers to, by field.
            loras: The weights that it refers to.

        Raises:
            FieldError: The model does not take a value that was asked for (`invalid_request`).
        """
        route, takes = self.route, self.route.signature.takes
        check_input(route, params)
        arguments = self._prompted(params)
        arguments |= self._sized(params, images or {})
        strength = strength_of(route.signature, params)
        if strength is not None:
            arguments["strength"] = strength
        steps = steps_done(route, steps_of(route, params), strength)
        call = Generation(arguments, seed, steps, route.pipeline, scheduler=params.scheduler, loras=loras)
        if not isinstance(params, ClipInput):
            return tuple(replace(call, seed=seed + n) for n in range(params.num_images))
        fps = params.fps or route.traits.fps
        if "frame_rate" in takes:  # models that were trained to know how fast their frames follow
            arguments["frame_rate"] = fps
        if params.num_frames is not None:
            arguments["num_frames"] = params.num_frames + route.traits.dropped_frames
        arguments["output_type"] = "np"
        return (replace(call, fps=fps),)

    def _prompted(self, params: Prompted) -> dict[str, Any]:
        traits, takes = self.route.traits, self.route.signature.takes
        arguments: dict[str, Any] = {"prompt": params.prompt}
        arguments |= {name: value for name, value in traits.fixed.items() if name in takes}
        if params.negative_prompt is not None:
            arguments |= {"negative_prompt": params.negative_prompt, **traits.with_negative}
        elif traits.no_negative is not None:
            arguments["negative_prompt"] = traits.no_negative
        if params.guidance_scale is not None and traits.guidance is not None:
            arguments[traits.guidance] = params.guidance_scale
        return arguments | {"num_inference_steps": steps_of(self.route, params)}

    def _sized(self, params: Prompted, images: "Mapping[str, Image]") -> dict[str, Any]:
        """Return the sides, and the pictures brought to them; a size that is not asked for follows the picture."""
        traits, takes = self.route.traits, self.route.signature.takes
        width, height = params.width, params.height
        if "image" in images:
            if traits.sides is not None:
                width, height = traits.sides
            own = self.route.signature.pixels if isinstance(params, ClipInput) else None
            width, height = fitting(
                images["image"].size,
                width=width,
                height=height,
                multiple=traits.multiple,
                max_pixels=min(own or traits.max_pixels, traits.max_pixels),
                pixels=traits.edited_pixels,
            )
        sides = {"width": width, "height": height}
        arguments: dict[str, Any] = {name: side for name, side in sides.items() if side is not None and name in takes}
        if "max_area" in takes and width and height:  # to which it would scale any other size
            arguments["max_area"] = width * height
        for field, image in images.items():
            arguments[_ARGUMENTS[field]] = fitted(image, width or image.width, height or image.height)
        return arguments
