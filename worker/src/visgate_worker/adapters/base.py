"""The shape of an adapter, and how a pipeline's class is asked what it takes."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from visgate_contract.tasks import Task, TaskInput


@dataclass(frozen=True, slots=True)
class Generation:
    """One call of a pipeline.

    Args:
        arguments: Keyword arguments of the call, without generator and callback.
        seed: Seed of the call's own generator.
        steps: Denoising steps that the call will report.
    """

    arguments: Mapping[str, Any]
    seed: int
    steps: int


class Adapter(Protocol):
    """Turns the input of one task into calls of one pipeline class."""

    task: Task

    def plan(self, params: TaskInput, *, seed: int) -> tuple[Generation, ...]:
        """Return one call for each picture or clip.

        Raises:
            JobFailedError: The pipeline does not take a value that was asked for (`invalid_request`).
        """
        ...


def parameters_of(pipeline: type) -> Mapping[str, inspect.Parameter]:
    """Return what calling a pipeline of this class takes."""
    return inspect.signature(pipeline.__call__).parameters
