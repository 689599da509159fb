"""Problem answers as OpenAPI describes them, shared by the routers."""

from typing import Any

from pulumi_visgate.gateway.problems import MEDIA_TYPE, Problem

_DESCRIPTIONS = {
    400: "It cannot be had, or not yet.",
    401: "No Runpod API key, or one that Runpod does not accept.",
    402: "The Runpod account has no funds.",
    403: "The Runpod API key may not do this.",
    404: "There is no such thing for this Runpod API key.",
    409: "The state of the thing does not allow it.",
    413: "The body is too large.",
    422: "A field is wrong; `errors` names it.",
    429: "Too many requests; see `Retry-After`.",
    500: "The job has failed.",
    502: "Runpod failed, or refused.",
    503: "Runpod has no capacity now.",
    504: "Runpod was too slow.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that calls Runpod: the given statuses and those that always can happen."""
    always = (401, 402, 403, 422, 429, 502, 504)
    return {status: _problem(status) for status in sorted({*always, *statuses})}


def bare_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that calls nobody."""
    return {status: _problem(status) for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": _DESCRIPTIONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
