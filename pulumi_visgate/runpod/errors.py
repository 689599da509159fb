"""What can go wrong between this library and Runpod. No error holds the request, its key or its body.

RunpodError                  anything below
├── RunpodApiError           Runpod answered with an error (RFC 9457 problem document)
│   ├── BadRequest           400
│   ├── Unauthorized         401
│   ├── Forbidden            403
│   ├── NotFound             404
│   ├── Conflict             409
│   ├── Unprocessable        422
│   ├── RateLimited          429
│   └── ServerFault          5xx
├── RunpodUnreachable        no answer: not connected, or the connection broke
├── DeadlineExceeded         no answer in time
├── UnexpectedAnswer         an answer that is not what the API promises
└── InvalidArgument          a key or an id that cannot be sent
"""

# ruff: noqa: N818  # named after the HTTP status they stand for; the tree above shows that they are errors

from typing import Any

from visgate_contract.errors import ErrorCode, VisgateError


class RunpodError(VisgateError):
    """Root of every error of the Runpod client."""

    code = ErrorCode.RUNPOD_REFUSED

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross a process border, whatever their constructor takes."""
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[RunpodError], args: tuple[Any, ...], state: dict[str, Any]) -> RunpodError:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class RunpodApiError(RunpodError):
    """Runpod answered with an error.

    Args:
        status: HTTP status.
        title: Title of the problem document, or the status in words.
        detail: What Runpod says, with the operation it was said to.
        errors: Validation failures, one a line.
        request_id: Runpod's id of the request, for its support.
        retry_after_s: Seconds until another request can succeed, when Runpod says so.
        hint: What to do about it.
    """

    default_hint = ""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: tuple[str, ...] = (),
        request_id: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(detail, hint=hint or self.default_hint)
        self.status = status
        self.title = title
        self.errors = errors
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        said = "; ".join((f"{self.title} ({self.status}): {self.detail}", *self.errors))
        return " ".join(part for part in (said, self.hint) if part)


class BadRequest(RunpodApiError):
    """400: against a rule of the API, such as removing something that is in use."""


class Unauthorized(RunpodApiError):
    """401: the key is missing, wrong or expired."""

    code = ErrorCode.UNAUTHORIZED
    default_hint = "Check RUNPOD_API_KEY, or `pulumi config set --secret visgate:runpodApiKey`."


class Forbidden(RunpodApiError):
    """403: the key is good, but may not do this."""

    default_hint = "Give the key the missing permission in Runpod's console."


class NotFound(RunpodApiError):
    """404: gone, or never there for this key."""

    code = ErrorCode.NOT_FOUND


class Conflict(RunpodApiError):
    """409: something in the way, such as a state that does not allow it."""


class Unprocessable(RunpodApiError):
    """422: the body or a parameter is not what the API's schema allows; see `errors`."""

    code = ErrorCode.INVALID_REQUEST


class RateLimited(RunpodApiError):
    """429: over the quota of the account; also raised unsent when the wait would not fit into the deadline."""

    code = ErrorCode.RATE_LIMITED


class ServerFault(RunpodApiError):
    """5xx: Runpod's own fault; a change may or may not have happened."""

    code = ErrorCode.RUNPOD_UNREACHABLE


class RunpodUnreachable(RunpodError):
    """No answer.

    Args:
        detail: What happened, without the request.
        sent: Whether the request may have reached Runpod, so that a change may have happened.
    """

    code = ErrorCode.RUNPOD_UNREACHABLE

    def __init__(self, detail: str, *, hint: str = "", sent: bool = True) -> None:
        super().__init__(detail, hint=hint)
        self.sent = sent


class DeadlineExceeded(RunpodError):
    """No answer within the deadline.

    Args:
        detail: What was not done in time, with the seconds.
        sent: Whether the request may have reached Runpod, so that a change may have happened.
    """

    code = ErrorCode.DEADLINE_EXCEEDED

    def __init__(self, detail: str, *, hint: str = "", sent: bool = True) -> None:
        super().__init__(detail, hint=hint)
        self.sent = sent


class UnexpectedAnswer(RunpodError):
    """An answer that does not fit the API's own description; holds field names, never values."""

    code = ErrorCode.RUNPOD_UNREACHABLE


class InvalidArgument(RunpodError):
    """A key, an address or an id that cannot be sent; the value is not repeated."""

    code = ErrorCode.INVALID_REQUEST
