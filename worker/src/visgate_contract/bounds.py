"""What a model takes of what its task's schema allows; the same answer from the gateway and from the worker."""

import math

from visgate_contract.capabilities import Route
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.families import FLOW_SCHEDULERS, FLOW_SCHEDULERS_FROM_PICTURES
from visgate_contract.pipelines import Signature
from visgate_contract.tasks import Prompted, Scheduler

FALLBACK_STEPS = 30


class FieldError(ContractError):
    """A value that the model does not take.

    Args:
        field: Its name in the task's schema.
        problem: What is wrong with it.
        hint: What to do about it.
    """

    def __init__(self, *, field: str, problem: str, hint: str) -> None:
        super().__init__(f"params.{field}: {problem}", hint=hint, code=ErrorCode.INVALID_REQUEST)
        self.field = field
        self.problem = problem


def check_input(route: Route, params: Prompted) -> None:
    """Refuse what a model would round, ignore or fail at.

    Args:
        route: How the model does the task.
        params: Input of that task.

    Raises:
        FieldError: The model does not take a value; the hint says what it does take.
    """
    _check_size(route, params)
    _check_frames(route, params)
    _check_steps(route, params)
    traits, signature = route.traits, route.signature
    if params.negative_prompt is not None and "negative_prompt" not in signature.takes:
        raise _not_taken(route, field="negative_prompt")
    if params.guidance_scale is not None and traits.guidance not in signature.takes:
        raise _not_taken(route, field="guidance_scale")
    if params.loras and not signature.has_loras:
        raise _not_taken(route, field="loras")
    if params.scheduler is not None and params.scheduler not in schedulers_of(route):
        able = ", ".join(sorted(schedulers_of(route)))
        hint = f"Leave it out, or use one of {able}." if able else "Leave it out."
        raise FieldError(
            field="scheduler", problem=f"{route.pipeline} does not work with {params.scheduler}.", hint=hint
        )


def schedulers_of(route: Route) -> frozenset[Scheduler]:
    """Return the schedulers that can be asked for by name."""
    able = route.traits.schedulers
    begins_from_picture = "strength" in route.signature.takes
    return able & FLOW_SCHEDULERS_FROM_PICTURES if begins_from_picture and able <= FLOW_SCHEDULERS else able


def steps_of(route: Route, params: Prompted) -> int:
    """Return the denoising steps that a call is given: as asked, the family's, or the pipeline's own."""
    return params.steps or route.traits.steps or route.signature.steps or FALLBACK_STEPS


def steps_done(route: Route, steps: int, strength: float | None) -> int:
    """Return how many of the steps are left to do: strength leaves out the first ones."""
    if strength is None:
        return steps
    return math.ceil(steps * strength) if route.traits.begins_fractions else int(steps * strength)


def strength_of(signature: Signature, params: Prompted) -> float | None:
    """Return how far to go from the image; None for pipelines that know no such thing."""
    if "strength" not in signature.takes:
        return None
    asked: float | None = getattr(params, "strength", None)
    return signature.strength if asked is None else asked


def _not_taken(route: Route, *, field: str) -> FieldError:
    return FieldError(field=field, problem=f"{route.pipeline} takes no such value.", hint="Leave it out.")


def _check_size(route: Route, params: Prompted) -> None:
    traits, width, height = route.traits, params.width, params.height
    if traits.chooses_size and (width or height):
        raise _not_taken(route, field="width" if width else "height")
    if traits.sides is not None:
        for field, value, only in (("width", width, traits.sides[0]), ("height", height, traits.sides[1])):
            if value not in {None, only}:
                problem = f"this {route.pipeline} draws {traits.sides[0]} x {traits.sides[1]} only."
                raise FieldError(field=field, problem=problem, hint=f"Leave it out, or use {only}.")
        return
    _check_multiple(route, width, traits.multiple, field="width")
    _check_multiple(route, height, traits.multiple, field="height")
    if width and height and width * height > traits.max_pixels:
        problem = f"{width} x {height} are more pixels than {route.pipeline} is made for."
        scale = math.sqrt(traits.max_pixels / (width * height))
        fits = [int(side * scale) // traits.multiple * traits.multiple for side in (width, height)]
        raise FieldError(
            field="width", problem=problem, hint=f"Use at most {traits.max_pixels}, such as {fits[0]} x {fits[1]}."
        )


def _check_frames(route: Route, params: Prompted) -> None:
    frames: int | None = getattr(params, "num_frames", None)
    if frames is None:
        return
    _check_multiple(route, frames, route.traits.frame_step, field="num_frames", rest=1)
    if frames > route.traits.max_frames:
        problem = f"{frames} frames are more than {route.pipeline} is made for."
        raise FieldError(field="num_frames", problem=problem, hint=f"Use at most {route.traits.max_frames}.")


def _check_steps(route: Route, params: Prompted) -> None:
    asked: float | None = getattr(params, "strength", None)
    strength = strength_of(route.signature, params)
    if strength is None:
        if asked is not None:
            raise _not_taken(route, field="strength")
        return
    steps = steps_of(route, params)
    if steps_done(route, steps, strength) < 1:
        problem = f"{strength:g} of {steps} steps is less than one step."
        hint = f"Ask for at least {math.ceil(1 / strength)} steps, or more strength."
        raise FieldError(field="strength", problem=problem, hint=hint)


def _check_multiple(route: Route, value: int | None, multiple: int, *, field: str, rest: int = 0) -> None:
    if value is None or value % multiple == rest % multiple:
        return
    lower = (value - rest) // multiple * multiple + rest
    wanted = f"a multiple of {multiple}" + (f" plus {rest}" if rest else "")
    nearest = [str(one) for one in (lower, lower + multiple) if one > 0]
    problem = f"{value} is not {wanted}, which {route.pipeline} needs."
    raise FieldError(field=field, problem=problem, hint=f"Use {' or '.join(nearest)}.")
