"""Text to video, for every pipeline whose signature says that it makes frames from a prompt."""

from typing import TYPE_CHECKING, Any

from visgate_contract.capabilities import Capability, require_task
from visgate_contract.tasks import Task, Text2VideoInput
from visgate_worker.adapters.base import (
    ForPipeline,
    Generation,
    cannot,
    check_multiple,
    common_arguments,
    parameters_of,
)
from visgate_worker.adapters.families import VideoTraits, video_traits

if TYPE_CHECKING:
    from PIL.Image import Image

_ALWAYS = ("prompt", "height", "width", "num_frames", "num_inference_steps", "generator")
_INPUTS_OF_OTHER_TASKS = frozenset({"image", "mask_image", "video"})


class TextToVideo(ForPipeline[VideoTraits]):
    """Adapter of `text2video`."""

    task = Task.TEXT2VIDEO

    @classmethod
    def for_pipeline(
        cls,
        pipeline: type,
        capability: Capability,
        *,
        model_id: str,
        is_step_distilled: bool = False,  # noqa: ARG003, no listed video model is
    ) -> "TextToVideo":
        """Make the adapter for a pipeline class.

        Raises:
            ContractError: A listed class that does something else (`task_not_supported`).
            JobFailedError: A class that is not listed and whose signature is not that of text to video.
        """
        require_task(capability, Task.TEXT2VIDEO, model_id=model_id)
        parameters = parameters_of(pipeline)
        makes_frames = all(name in parameters for name in _ALWAYS)
        if not capability.is_known:
            makes_frames = makes_frames and not _INPUTS_OF_OTHER_TASKS & parameters.keys()
        if not makes_frames:
            raise cannot(Task.TEXT2VIDEO, capability, model_id=model_id)
        return cls(parameters, pipeline=capability.pipeline, traits=video_traits(capability.family))

    def plan(
        self,
        params: Text2VideoInput,
        *,
        seed: int,
        image: "Image | None" = None,  # noqa: ARG002, the task begins from no image
    ) -> tuple[Generation, ...]:
        """Return the one call.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        traits, pipeline = self._traits, self._pipeline
        check_multiple("width", params.width, traits.multiple, pipeline=pipeline)
        check_multiple("height", params.height, traits.multiple, pipeline=pipeline)
        check_multiple("num_frames", params.num_frames, traits.frame_step, pipeline=pipeline, rest=1)
        arguments = common_arguments(params, traits, self._parameters, pipeline=pipeline)
        wanted: dict[str, Any] = {"width": params.width, "height": params.height, "num_frames": params.num_frames}
        arguments |= {name: value for name, value in wanted.items() if value is not None}
        fps = params.fps or traits.fps
        if "frame_rate" in self._parameters:  # models that were trained to know how fast their frames follow
            arguments["frame_rate"] = fps
        arguments["output_type"] = "np"
        return (Generation(arguments, seed, arguments["num_inference_steps"], fps=fps),)
