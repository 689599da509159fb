"""One prepared call of the API, and what its answer means. No I/O happens here.

Imports models and errors; `_requests`, `jobs` and `logs` make the calls, `_exchange` carries them out.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from pulumi_visgate.runpod.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidArgument,
    NotFound,
    RateLimited,
    RunpodApiError,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unprocessable,
)
from pulumi_visgate.runpod.models.common import Query, Request
from visgate_contract.redaction import Redactor

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
HttpMethod: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]

_BY_STATUS: dict[int, type[RunpodApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Unprocessable,
    429: RateLimited,
}
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "cf-ray")
_MAX_DETAIL = 2_000
_MAX_ERRORS = 50


class Plane(Enum):
    """Which of Runpod's two services a call goes to."""

    CONTROL = "control"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, ready to be sent.

    Args:
        operation_id: Name in the OpenAPI document; job operations have names of the same kind.
        method: HTTP method.
        template: Path with names in braces.
        parse: Turns the body of a good answer into the result.
        ids: What stands for the names in the path.
        query: Query parameters.
        body: JSON body.
        headers: Headers besides authorisation.
        plane: The service that is called.
        repeatable: Sending it twice does what sending it once does.
        timeout_s: Deadline in seconds instead of the client's.
    """

    operation_id: str
    method: HttpMethod
    template: str
    parse: Callable[[bytes], T]
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Query | None = None
    body: Request | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    plane: Plane = Plane.CONTROL
    repeatable: bool = True
    timeout_s: float | None = None

    @property
    def path(self) -> str:
        """The path with its ids, percent-encoded.

        Raises:
            InvalidArgument: An id is empty or names a folder, so that the path would mean something else.
        """
        return self.template.format(**{name: _segment(name, value) for name, value in self.ids.items()})

    @property
    def params(self) -> dict[str, str]:
        """The query parameters."""
        return {} if self.query is None else self.query.params()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def _segment(name: str, value: str) -> str:
    if not value or value in {".", ".."}:
        detail = f"{name} must be the id of something, not empty or dots"
        raise InvalidArgument(detail)
    return quote(value, safe="")


def one(model: type[ModelT]) -> Callable[[bytes], ModelT]:
    """Parse a body that is one model."""
    return model.model_validate_json


def items(key: str, model: type[ModelT]) -> Callable[[bytes], list[ModelT]]:
    """Parse a body that lists models under a key."""

    def parse(content: bytes) -> list[ModelT]:
        listed = _mapping(content).get(key)
        if not isinstance(listed, list):
            message = f"there is no list under {key!r}"
            raise UnexpectedAnswer(message)
        return [model.model_validate(item) for item in cast("list[object]", listed)]

    return parse


def nothing(_content: bytes) -> None:
    """Parse the body of an answer that has none."""


def parsed(call: Call[T], reply: Reply) -> T:
    """Return what a good answer holds.

    Raises:
        UnexpectedAnswer: The body is not what the API promises.
    """
    fault = ""
    try:
        return call.parse(reply.content)
    except ValidationError as error:
        wrong = sorted({".".join(map(str, item["loc"])) or item["type"] for item in error.errors(include_input=False)})
        fault = ", ".join(wrong[:10])
    except (ValueError, UnexpectedAnswer) as error:
        fault = str(error) if isinstance(error, UnexpectedAnswer) else "it is not JSON"
    detail = f"{call.operation_id} was answered with {reply.status} and a body this client cannot read: {fault}"
    raise UnexpectedAnswer(detail, hint="Is the API's address right?")


def error_of(call: Call[Any], reply: Reply, *, key: str) -> RunpodApiError:
    """Return the typed error of a refused call, without any secret of the request in its texts."""
    problem = _problem(reply.content)
    redactor = Redactor((key, *_secrets(call)))
    phrase = _phrase(reply.status)
    title = _text(problem, "title") or phrase
    said = _text(problem, "detail", "error", "message") or "no reason given"
    listed = problem.get("errors")
    errors = cast("list[object]", listed) if isinstance(listed, list) else []
    make = _BY_STATUS.get(reply.status) or (ServerFault if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)
    return (make or RunpodApiError)(
        reply.status,
        redactor.text(title)[:_MAX_DETAIL],
        redactor.text(f"{call.operation_id}: {said}")[:_MAX_DETAIL],
        errors=tuple(redactor.text(item)[:_MAX_DETAIL] for item in errors[:_MAX_ERRORS] if isinstance(item, str)),
        request_id=next((reply.headers[name] for name in _REQUEST_ID_HEADERS if name in reply.headers), ""),
        retry_after_s=retry_after_s(reply.headers.get("retry-after", "")),
    )


def retry_after_s(value: str, *, now: datetime | None = None) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110 §10.2.3), None when there are none."""
    if re.fullmatch(r"[0-9]{1,9}", text := value.strip()):
        return float(text)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _mapping(content: bytes) -> dict[str, Any]:
    value = from_json(content)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _problem(content: bytes) -> dict[str, Any]:
    try:
        return _mapping(content)
    except ValueError:  # a proxy's HTML page; nothing of it is worth repeating
        return {}


def _text(problem: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := problem.get(name), str) and value), "")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


def _secrets(call: Call[Any]) -> tuple[str, ...]:
    """Return values of the request that an answer could repeat and no error may."""
    if call.body is None:
        return ()
    body = call.body.body()
    env = cast("dict[str, str]", body.get("env") or {})
    return (*env.values(), *(str(body[name]) for name in ("username", "password", "webhook") if name in body))
