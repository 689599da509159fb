"""Problem answers as OpenAPI describes them, shared by the routers."""

from http import HTTPStatus
from typing import Any

from pulumi_visgate.gateway.problems import MEDIA_TYPE, FieldProblem, OpenAIEnvelope, Problem, title_of
from visgate_contract.errors import ErrorCode

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

_EXAMPLES = {
    400: (ErrorCode.INVALID_REQUEST, "Request is still in progress", "Ask for its status until that is COMPLETED."),
    401: (
        ErrorCode.UNAUTHORIZED,
        "This request needs a Runpod API key.",
        "Send it as `Authorization: Bearer <RUNPOD_API_KEY>`.",
    ),
    402: (ErrorCode.RUNPOD_REFUSED, "no funds", "Add funds to the Runpod account of this API key."),
    403: (
        ErrorCode.MODEL_GATED,
        "The model's terms have to be accepted on the hub.",
        "Accept them, and send a token of that account as X-HF-Token.",
    ),
    404: (
        ErrorCode.NOT_FOUND,
        "There is no such job for this Runpod API key.",
        "Use the job_id that POST /v1/jobs returned.",
    ),
    409: (
        ErrorCode.INVALID_REQUEST,
        "Only a job that has failed or ran out of time can be tried again; this one is COMPLETED.",
        "Send the request again with POST /v1/jobs.",
    ),
    413: (ErrorCode.INVALID_REQUEST, "The body has more than 1048576 bytes.", "Send files by URL, not inline."),
    422: (
        ErrorCode.INVALID_REQUEST,
        "input.width: Input should be a multiple of 8.",
        "Correct the fields named in `errors`; /docs has the schema.",
    ),
    429: (ErrorCode.RATE_LIMITED, "Too many requests with this key.", "Wait as Retry-After says."),
    500: (ErrorCode.GENERATION_FAILED, "The pipeline has failed.", "Try again with other parameters."),
    502: (
        ErrorCode.RUNPOD_UNREACHABLE,
        "Runpod did not answer.",
        "Try again; https://uptime.runpod.io tells its state.",
    ),
    503: (ErrorCode.NO_CAPACITY, "No GPU of ADA_24 is free anywhere.", "Try another GPU pool, or later."),
    504: (
        ErrorCode.DEADLINE_EXCEEDED,
        "Runpod did not answer all questions of this request within 30 s.",
        "Try again: an endpoint that was made meanwhile is found by its name.",
    ),
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
    example = _example(status).model_dump(mode="json", exclude_none=True)
    return {"description": _DESCRIPTIONS[status], "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def openai_problem(status: int, description: str) -> dict[str, Any]:
    """Return one of the `responses` of a route that speaks OpenAI's form."""
    example = OpenAIEnvelope.of(_example(status)).model_dump(mode="json")
    content = {"application/json": {"example": example}}
    return {"model": OpenAIEnvelope, "description": description, "content": content}


def _example(status: int) -> Problem:
    code, detail, hint = _EXAMPLES[status]
    errors = (
        [FieldProblem(field="input.width", detail="Input should be a multiple of 8")]
        if status == HTTPStatus.UNPROCESSABLE_ENTITY
        else None
    )
    title = title_of(status, code)
    return Problem(title=title, status=status, detail=detail, code=code, hint=hint, errors=errors)
