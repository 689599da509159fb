"""What the dialects share: another API's request becomes an order of this one, its errors keep the other's words."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue, ValidationError

from pulumi_visgate.gateway.routes.schemas import JobRequestBody
from pulumi_visgate.gateway.services.limits import Limits
from pulumi_visgate.gateway.services.orders import Order
from pulumi_visgate.gateway.services.tickets import Style
from visgate_contract.tasks import Task

_TAGS = frozenset(Task)


def order_of(
    model: str,
    task: Task,
    given: Mapping[str, JsonValue],
    *,
    their_names: Mapping[str, str],
    webhook_url: str | None = None,
    style: Style = Style.STANDARD,
    limits: Limits | None = None,
) -> Order:
    """Return the order in a request.

    Args:
        model: Hub id.
        task: Task.
        given: Input of the task, in our words.
        their_names: Their words for ours, where they differ.
        webhook_url: Who hears of the result.
        style: What that one expects.
        limits: How long it may take.

    Raises:
        RequestValidationError: The input does not fit the task's schema.
    """
    try:
        body = JobRequestBody.model_validate({"model": model, "task": task, "input": dict(given)})
    except ValidationError as error:
        raise RequestValidationError([_renamed(found, their_names) for found in error.errors()]) from None
    return Order(body.asked(), body.input, webhook_url, style, limits or Limits())


def _renamed(error: Any, their_names: Mapping[str, str]) -> dict[str, Any]:
    path = [part for part in error["loc"] if part not in _TAGS and part != "input"]
    return {**error, "loc": ("body", *(their_names.get(part, part) for part in path))}
