"""The shape of an adapter, and how a pipeline's class is asked what it takes."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from visgate_contract.capabilities import Capability
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Prompted, Task
from visgate_worker.adapters.families import Traits
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from PIL.Image import Image

_FALLBACK_STEPS = 30

_KINDS = {Task.TEXT2IMG: "a text-to-image", Task.IMAGE2IMG: "an image-to-image", Task.TEXT2VIDEO: "a text-to-video"}

ParamsT_contra = TypeVar("ParamsT_contra", contravariant=True)
TraitsT = TypeVar("TraitsT", bound=Traits)


@dataclass(frozen=True, slots=True)
class Generation:
    """One call of a pipeline.

    Args:
        arguments: Keyword arguments of the call, without generator and callback.
        seed: Seed of the call's own generator.
        steps: Denoising steps that the call will report.
        pipeline: Class that is called, made of the loaded one's parts; the loaded one itself when left out.
        fps: Frames a second, for a call that makes a clip; None for one that makes a picture.
    """

    arguments: Mapping[str, Any]
    seed: int
    steps: int
    pipeline: str | None = None
    fps: int | None = None


class Adapter(Protocol[ParamsT_contra]):
    """Turns the input of one task into calls of one pipeline class."""

    task: Task

    def plan(self, params: ParamsT_contra, *, seed: int, image: "Image | None" = None) -> tuple[Generation, ...]:
        """Return one call for each picture or clip.

        Args:
            params: The task's input.
            seed: Seed of the first call.
            image: The picture that the input refers to, for tasks that begin from one.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        ...


class ForPipeline(Generic[TraitsT]):
    """What every adapter knows of its pipeline.

    Args:
        parameters: Signature of the pipeline's call.
        pipeline: Name of the class.
        traits: What the family wants.
    """

    def __init__(self, parameters: Mapping[str, inspect.Parameter], *, pipeline: str, traits: TraitsT) -> None:
        self._parameters = parameters
        self._pipeline = pipeline
        self._traits = traits


def cannot(task: Task, capability: Capability, *, model_id: str) -> JobFailedError:
    """Return the error of a class whose signature is not that of the task."""
    detail = f"{model_id} is a {capability.pipeline} and cannot do {task}."
    return JobFailedError(detail, hint=f"Choose {_KINDS[task]} model.", code=ErrorCode.TASK_NOT_SUPPORTED)


def parameters_of(pipeline: type) -> Mapping[str, inspect.Parameter]:
    """Return what calling a pipeline of this class takes."""
    return inspect.signature(pipeline.__call__).parameters


def refuse_field(*, field: str, pipeline: str) -> JobFailedError:
    """Return the error of a value that a pipeline would ignore or not understand."""
    detail = f"params.{field}: {pipeline} takes no such value."
    return JobFailedError(detail, hint="Leave it out.", code=ErrorCode.INVALID_REQUEST)


def check_multiple(field: str, value: int | None, multiple: int, *, pipeline: str, rest: int = 0) -> None:
    """Refuse a value that the pipeline would round.

    Args:
        field: Its name in the task's schema.
        value: None when the caller left it out.
        multiple: What it has to be a multiple of.
        pipeline: Name of the class, for the message.
        rest: What has to be left over when it is divided.

    Raises:
        JobFailedError: It is none (`invalid_request`); the hint says the nearest that are.
    """
    if value is None or value % multiple == rest % multiple:
        return
    lower = (value - rest) // multiple * multiple + rest
    wanted = f"a multiple of {multiple}" + (f" plus {rest}" if rest else "")
    detail = f"params.{field}: {value} is not {wanted}, which {pipeline} needs."
    nearest = [str(one) for one in (lower, lower + multiple) if one > 0]
    raise JobFailedError(detail, hint=f"Use {' or '.join(nearest)}.", code=ErrorCode.INVALID_REQUEST)


def common_arguments(
    params: Prompted, traits: Traits, parameters: Mapping[str, inspect.Parameter], *, pipeline: str
) -> dict[str, Any]:
    """Return the arguments that every task shares: prompts, guidance, steps and what the family always wants.

    Raises:
        JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
    """
    arguments: dict[str, Any] = {"prompt": params.prompt, **traits.fixed}
    if params.negative_prompt is not None:
        if "negative_prompt" not in parameters:
            raise refuse_field(field="negative_prompt", pipeline=pipeline)
        arguments |= {"negative_prompt": params.negative_prompt, **traits.with_negative}
    elif traits.no_negative is not None:
        arguments["negative_prompt"] = traits.no_negative
    if params.guidance_scale is not None:
        if traits.guidance is None or traits.guidance not in parameters:
            raise refuse_field(field="guidance_scale", pipeline=pipeline)
        arguments[traits.guidance] = params.guidance_scale
    default = parameters["num_inference_steps"].default
    own = default if isinstance(default, int) else _FALLBACK_STEPS
    arguments["num_inference_steps"] = params.steps or traits.steps or own
    return arguments
