"""What can go wrong in the emulator.

VisgateError
└── EmulatorError
    ├── StartError    the emulator cannot start: data in use, port taken, broken setting
    └── Problem       an answer with an error status, sent as an RFC 9457 document
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from visgate_contract.errors import ErrorCode, VisgateError


class EmulatorError(VisgateError):
    """Root of the emulator's errors."""


class StartError(EmulatorError):
    """The emulator cannot start."""

    code = ErrorCode.INVALID_REQUEST


class Problem(EmulatorError):  # noqa: N818, the name that RFC 9457 gives it
    """An error answer (RFC 9457), raised by handlers and turned into a response in one place.

    Args:
        status: HTTP status.
        detail: What is wrong with this request.
        errors: One line for each field that failed validation.
        headers: Extra response headers.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, *, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def document(self) -> dict[str, object]:
        """Return the problem document as API v2 defines it."""
        document: dict[str, object] = {
            "title": "Unprocessable Entity" if self.status == _UNPROCESSABLE else self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return document


_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


def bad_request(detail: str) -> Problem:
    """Return a 400: the request breaks a rule that its schema cannot express."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def unauthorized(detail: str) -> Problem:
    """Return a 401: no key, or nothing that looks like one."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(detail: str) -> Problem:
    """Return a 403: the key is valid and may not do this."""
    return Problem(HTTPStatus.FORBIDDEN, detail)


def not_found(noun: str, identifier: str) -> Problem:
    """Return a 404: it does not exist or belongs to another account; the answer does not tell which."""
    return Problem(HTTPStatus.NOT_FOUND, f"{noun} {identifier!r} not found")


def unprocessable(errors: Sequence[str]) -> Problem:
    """Return a 422: the request does not match its schema."""
    listed = "; ".join(errors[:3]) + ("; …" if len(errors) > 3 else "")  # noqa: PLR2004, the rest is in `errors`
    return Problem(_UNPROCESSABLE, f"Request validation failed: {listed}", errors=errors)
