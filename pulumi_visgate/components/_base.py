"""What the components have in common: validated arguments, targets, sums of cost."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pulumi_visgate.resources.errors import ResourceError

ModelT = TypeVar("ModelT", bound=BaseModel)

LOCAL = "local"
AWS = "aws"


class ArgumentError(ResourceError):
    """An argument of a component is missing or wrong."""


class Arguments(BaseModel):
    """Base of the models that check a component's arguments; inputs that may be outputs are not looked into."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)


class ComponentArguments(Arguments):
    """What a component with children takes besides."""

    tags: object = None
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)


def checked(component: str, model: type[ModelT], args: Mapping[str, Any]) -> ModelT:
    """Validate the arguments of a component.

    Args:
        component: Its type, for the message.
        model: What the arguments must be.
        args: What the program gave; None counts as left out.

    Raises:
        ArgumentError: They are not; the message names each argument.
    """
    try:
        return model.model_validate({name: value for name, value in args.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {_reason(args, item)}" for item in wrong)
        detail = f"{component}: {lines}."
        raise ArgumentError(detail, hint="See docs/library.md for the arguments.") from None


def _reason(args: Mapping[str, Any], wrong: Mapping[str, Any]) -> str:
    value: Any = args
    with suppress(LookupError, TypeError):  # the last step can lead to what is missing
        for step in wrong["loc"]:
            value = value if isinstance(value, pulumi.Output) else value[step]
    if isinstance(value, pulumi.Output):
        return "Must be known when the program runs, so it cannot be an output"
    return str(wrong["msg"])


def keeps_data(retain: bool | None, force_destroy: bool) -> bool:
    """Say whether data outlives its component: unless told otherwise, or the program lets it be deleted anyway."""
    return not force_destroy if retain is None else retain


def require_target(component: str, target: str) -> None:
    """Refuse a target that there is not.

    Raises:
        ArgumentError: The target is neither `local` nor `aws`.
    """
    if target not in (LOCAL, AWS):
        detail = f"{component}: target {target!r} is unknown."
        raise ArgumentError(detail, hint=f"Use target {LOCAL!r} or {AWS!r}.")


@contextmanager
def needing_aws(component: str) -> Iterator[None]:
    """Say what is missing where target `aws` is wanted without its SDK.

    Raises:
        ArgumentError: pulumi-aws is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("pulumi_aws"):
            raise
        detail = f"{component}: target {AWS!r} needs pulumi-aws, which is not installed."
        raise ArgumentError(detail, hint="Install pulumi-visgate[aws]; docs/aws.md says how.") from None


def hourly_usd(note: str, children: Iterable[pulumi.Resource]) -> pulumi.Output[float | None]:
    """Sum up what children cost in an hour, in US dollars; None when that is not known of one of them.

    Args:
        note: `hourly_floor_usd` or `hourly_ceiling_usd`.
        children: Resources and components that tell it.
    """
    return pulumi.Output.all(*(getattr(child, note, None) for child in children)).apply(_total)


def plus(known: pulumi.Output[float | None], others: pulumi.Output[list[float | None]]) -> pulumi.Output[float | None]:
    """Add figures to another one; None when any is not known."""
    return pulumi.Output.all(known, others).apply(lambda all_: _total([all_[0], *all_[1]]))


def _total(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return round(math.fsum(known), 6) if len(known) == len(figures) else None
