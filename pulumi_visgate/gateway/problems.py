"""Errors as RFC 9457 problem documents: the one place where an exception becomes an answer.

VisgateError
├── InvalidField       422, names one field of the request
├── MissingKey         401
├── Refused            an answer with a status and code of its own
└── (RunpodError and the contract's errors are mapped by their type and code)
"""

# ruff: noqa: N818  # named for what the caller is told; the tree above shows that they are errors

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import Scope

from pulumi_visgate.gateway import masking
from pulumi_visgate.runpod import errors as runpod
from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.tasks import field_path

log = logging.getLogger(__name__)

REQUEST_ID_KEY = "visgate_request_id"
OPENAI_PATH = "/v1/images/generations"
MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Runpod API key needed",
    402: "Runpod account without funds",
    403: "Refused by Runpod",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    413: "Request too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    502: "Runpod failed",
    503: "Not available now",
    504: "Deadline exceeded",
}

# Where a code says more than its status.
_TITLE_OF_CODE = {
    ErrorCode.MODEL_GATED: "Model is gated",
    ErrorCode.BUDGET_EXCEEDED: "Budget exceeded",
    ErrorCode.HUB_UNREACHABLE: "Model hub failed",
}

# What a code means when nothing else decides the status.
_STATUS_OF_CODE = {
    ErrorCode.INVALID_REQUEST: 422,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.MODEL_NOT_FOUND: 404,
    ErrorCode.MODEL_GATED: 403,
    ErrorCode.MODEL_NOT_SUPPORTED: 422,
    ErrorCode.MODEL_TOO_LARGE: 422,
    ErrorCode.TASK_NOT_SUPPORTED: 422,
    ErrorCode.WEBHOOK_URL_REFUSED: 422,
    ErrorCode.WEBHOOK_DELIVERY_FAILED: 502,
    ErrorCode.NO_CAPACITY: 503,
    ErrorCode.BUDGET_EXCEEDED: 402,
    ErrorCode.HUB_UNREACHABLE: 502,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.RUNPOD_UNREACHABLE: 502,
    ErrorCode.RUNPOD_REFUSED: 502,
    ErrorCode.DEADLINE_EXCEEDED: 504,
}


class FieldProblem(BaseModel):
    """One field that is wrong."""

    field: str = Field(examples=["input.width"])
    detail: str = Field(examples=["Input should be a multiple of 8"])


class Problem(BaseModel):
    """Problem document (RFC 9457). `code` is stable; `detail` is for people."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Invalid request"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["input.width: Input should be a multiple of 8."])
    code: ErrorCode = Field(examples=["invalid_request"])
    hint: str | None = Field(default=None, examples=["Correct the field and send the request again."])
    errors: list[FieldProblem] | None = None
    request_id: str | None = Field(default=None, examples=["req_5f0c8b1de6f94f3c"])


class OpenAIError(BaseModel):
    """What is wrong, in OpenAI's form."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(default=None, examples=["size"])
    code: ErrorCode = Field(examples=["invalid_request"])
    request_id: str | None = None


class OpenAIEnvelope(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIError

    @classmethod
    def of(cls, problem: Problem) -> "OpenAIEnvelope":
        """Return a problem in this form."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        fallback = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        return cls(
            error=OpenAIError(
                message=f"{problem.detail} {problem.hint or ''}".rstrip(),
                type=kinds.get(problem.status, fallback),
                param=problem.errors[0].field if problem.errors else None,
                code=problem.code,
                request_id=problem.request_id,
            )
        )


class InvalidField(VisgateError):
    """A field of the request is wrong.

    Args:
        field: Its path, such as `input.width`.
        detail: What is wrong with it.
        hint: What to do.
        code: Stable code.
    """

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, *, field: str, detail: str, hint: str = "", code: ErrorCode | None = None) -> None:
        super().__init__(f"{field}: {detail}", hint=hint, code=code)
        self.field = field
        self.field_detail = detail


class MissingKey(VisgateError):
    """The request has no usable Runpod API key.

    Args:
        scheme: How this route wants it.
    """

    code = ErrorCode.UNAUTHORIZED

    def __init__(self, scheme: str = "Bearer") -> None:
        hint = f"Send it as `Authorization: {scheme} <RUNPOD_API_KEY>`."
        super().__init__("This request needs a Runpod API key.", hint=hint)


class Refused(VisgateError):
    """A refusal that says its own status.

    Args:
        status: HTTP status.
        detail: What is refused.
        code: Stable code.
        hint: What to do.
        headers: Headers of the answer.
        fields: Fields of the request that it is about.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: ErrorCode,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        fields: Sequence[FieldProblem] = (),
    ) -> None:
        super().__init__(detail, hint=hint, code=code)
        self.status = status
        self.headers = dict(headers or {})
        self.fields = list(fields)


def problem_of(error: VisgateError) -> tuple[Problem, dict[str, str]]:
    """Return the problem document of an error, and the headers of its answer."""
    status, headers = _STATUS_OF_CODE.get(error.code, 500), dict[str, str]()
    fields: list[FieldProblem] | None = None
    code, detail, hint = error.code, error.detail, error.hint
    if isinstance(error, runpod.RunpodError):
        status, code, hint = _of_runpod(error)
        if isinstance(error, runpod.RunpodApiError):
            detail = "; ".join((detail, *error.errors[:5]))
        if isinstance(error, runpod.RateLimited) and error.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    elif isinstance(error, Refused):
        status, headers, fields = error.status, error.headers, error.fields or None
    elif isinstance(error, InvalidField):
        fields = [FieldProblem(field=error.field, detail=error.field_detail)]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="runpod"')
    title = title_of(status, code)
    return Problem(title=title, status=status, detail=detail, code=code, hint=hint or None, errors=fields), headers


def title_of(status: int, code: ErrorCode) -> str:
    """Return the title of a problem."""
    return _TITLE_OF_CODE.get(code) or _TITLES.get(status, "Error")


def _of_runpod(error: runpod.RunpodError) -> tuple[int, ErrorCode, str]:
    """Return status, code and hint for what Runpod answered, or did not."""
    if isinstance(error, runpod.DeadlineExceeded):
        return 504, ErrorCode.DEADLINE_EXCEEDED, error.hint or "Try again; Runpod was too slow."
    if error.code is ErrorCode.NO_CAPACITY:
        return 503, error.code, error.hint
    if not isinstance(error, runpod.RunpodApiError):
        return 502, ErrorCode.RUNPOD_UNREACHABLE, error.hint or "Try again; https://uptime.runpod.io tells its state."
    by_status: dict[int, tuple[int, ErrorCode, str]] = {
        401: (401, ErrorCode.UNAUTHORIZED, "Runpod did not accept this API key. Make one in its console, Settings."),
        402: (402, ErrorCode.RUNPOD_REFUSED, "Add funds to the Runpod account of this API key."),
        403: (403, ErrorCode.RUNPOD_REFUSED, "Give this API key the right to read and write serverless endpoints."),
        404: (404, ErrorCode.NOT_FOUND, "It may have been deleted, or belong to another Runpod account."),
        409: (409, ErrorCode.RUNPOD_REFUSED, error.hint),
        429: (429, ErrorCode.RATE_LIMITED, "Runpod limits this API key. Wait as Retry-After says."),
    }
    if error.status in by_status:
        return by_status[error.status]
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return 502, ErrorCode.RUNPOD_UNREACHABLE, "Try again; https://uptime.runpod.io tells its state."
    return 502, ErrorCode.RUNPOD_REFUSED, error.hint or "The gateway's settings do not suit this Runpod account."


def answer(problem: Problem, headers: Mapping[str, str] | None = None, *, scope: Scope) -> Response:
    """Return the HTTP answer of a problem, in the form of the API that was asked, with every secret masked.

    Args:
        problem: What is wrong.
        headers: Headers of the answer.
        scope: The request.
    """
    stated = masking.current().model(problem).model_copy(update={"request_id": scope.get(REQUEST_ID_KEY)})
    status, media_type, document = problem.status, MEDIA_TYPE, stated.model_dump(mode="json", exclude_none=True)
    if scope["path"] == OPENAI_PATH:
        status, media_type = (400 if status == HTTPStatus.UNPROCESSABLE_ENTITY else status), "application/json"
        document = OpenAIEnvelope.of(stated).model_dump(mode="json")
    body = json.dumps(document, ensure_ascii=False)
    return Response(body, status_code=status, headers=dict(headers or {}), media_type=media_type)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the problem of a request that does not fit its schema; it never repeats what was sent."""
    fields = [FieldProblem(field=_field(error["loc"]), detail=str(error["msg"])) for error in errors]
    task_refused = any(field.field == "task" for field in fields)
    return Problem(
        title=_TITLES[422],
        status=422,
        detail="; ".join(f"{field.field}: {field.detail}" for field in fields[:5]) + ".",
        code=ErrorCode.TASK_NOT_SUPPORTED if task_refused else ErrorCode.INVALID_REQUEST,
        hint="Correct the fields named in `errors`; /docs has the schema.",
        errors=fields,
    )


def _field(location: Sequence[str | int]) -> str:
    """Return a path such as `input.prompt`; the place (body, query) is said only where nothing else is."""
    place, *path = location or ["body"]
    return field_path(path) if path and not str(path[0]).isdigit() else str(place)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    async def handle(request: Request, error: Exception) -> Response:
        headers: Mapping[str, str] = {}
        if isinstance(error, RequestValidationError):
            problem = of_validation(error.errors())
        elif isinstance(error, HTTPException):
            problem, headers = _of_http(error, request)
        elif isinstance(error, VisgateError):
            problem, headers = problem_of(error)
        else:
            raise error
        return answer(problem, headers, scope=request.scope)

    for kind in (RequestValidationError, HTTPException, VisgateError):
        app.add_exception_handler(kind, handle)


def _of_http(error: HTTPException, request: Request) -> tuple[Problem, Mapping[str, str]]:
    """Return the problem of what the framework refused: an unknown route, a wrong method, an unreadable body."""
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return of_validation([{"loc": ("body",), "msg": "is not JSON in UTF-8"}]), {}
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    code = ErrorCode.NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else ErrorCode.INVALID_REQUEST
    problem = Problem(
        title=_TITLES.get(error.status_code, "Error"),
        status=error.status_code,
        detail=str(error.detail),
        code=code,
        hint="/docs lists the routes and their methods.",
    )
    return problem, headers


def _methods(request: Request) -> list[str]:
    """Return every method of a path; the framework names those of the first route only."""
    app: FastAPI = request.app
    paths: Mapping[str, Mapping[str, object]] = app.openapi()["paths"]
    found = [methods for path, methods in paths.items() if compile_path(path)[0].match(request.url.path)]
    return sorted({method.upper() for methods in found for method in methods})


def internal() -> Problem:
    """Return the problem of a fault in the gateway itself; it tells nothing about it."""
    return Problem(
        title=_TITLES[500],
        status=500,
        detail="The gateway failed while answering this request.",
        code=ErrorCode.INTERNAL,
        hint="Try again. If it persists, give the request_id to whoever runs this gateway.",
    )
