"""What the components have in common: type tokens, validated arguments, child options."""

from collections.abc import Mapping
from typing import Any, TypeVar

import pulumi
from pydantic import BaseModel, ConfigDict, ValidationError

from pulumi_visgate.resources.errors import ResourceError

ModelT = TypeVar("ModelT", bound=BaseModel)

LOCAL = "local"
AWS = "aws"


class ArgumentError(ResourceError):
    """An argument of a component is missing or wrong."""


class Arguments(BaseModel):
    """Base of the models that check a component's arguments; inputs that may be outputs are not looked into."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)


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
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in wrong)
        detail = f"{component}: {lines}."
        raise ArgumentError(detail, hint="See docs/library.md for the arguments.") from None


def child_options(parent: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
    """Return options that make a resource a child, so that providers and transformations of the parent reach it."""
    return pulumi.ResourceOptions(parent=parent, **options)


def require_local(component: str, target: str) -> None:
    """Refuse a target that this release does not have.

    Raises:
        ArgumentError: The target is not `local`.
    """
    if target != LOCAL:
        known = "is not in this release" if target == AWS else "is unknown"
        detail = f"{component}: target {target!r} {known}."
        raise ArgumentError(detail, hint=f"Use target {LOCAL!r}.")
