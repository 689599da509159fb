"""Errors of the gateway's client.

VisgateError
├── GatewayError       the gateway refused, or cannot be reached
├── JobFailedError     the job ended without a result
├── JobNotDoneError    the job has not ended yet
└── UsageError         an argument, an option or a variable is missing or wrong
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from visgate_contract.errors import ErrorCode, VisgateError

MAX_PROBLEM_BYTES = 64 * 1024
_BUSY = frozenset({429, 502, 503, 504})
_CONFLICT, _FAULT = 409, 500


class GatewayError(VisgateError):
    """The gateway refused, or cannot be reached.

    Args:
        detail: What is wrong.
        hint: What to do about it.
        code: Stable code of the refusal.
        status: HTTP status; None when there was no answer.
        errors: The fields that were wrong, with what is wrong about each.
        request_id: For whoever runs the gateway.
        retry_after_s: When to try again, in seconds, if the gateway said so.
    """

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        code: ErrorCode | None = None,
        status: int | None = None,
        errors: Mapping[str, str] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, hint=hint, code=code)
        self.status = status
        self.errors = dict(errors or {})
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    @property
    def may_pass(self) -> bool:
        """Trying again may help."""
        return self.status is None or self.status == 429 or self.status >= _FAULT  # noqa: PLR2004 - HTTP's own number

    @property
    def invites_repeat(self) -> bool:
        """The same request may be sent again at once, if it is safe to send twice."""
        if self.code is ErrorCode.NO_CAPACITY:
            return False
        return self.status is None or self.status in _BUSY or (self.status == _CONFLICT and bool(self.retry_after_s))


class JobFailedError(VisgateError):
    """The job ended without a result.

    Args:
        detail: What happened.
        hint: What to do about it.
        code: Stable code of the failure.
        log_tail: The last lines of the worker's log, where the worker itself failed.
    """

    def __init__(
        self, detail: str, *, hint: str = "", code: ErrorCode | None = None, log_tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(detail, hint=hint, code=code)
        self.log_tail = log_tail


class JobNotDoneError(VisgateError):
    """The job has not ended yet; it goes on."""

    code = ErrorCode.DEADLINE_EXCEEDED


class UsageError(VisgateError):
    """An argument, an option or a variable is missing or wrong."""

    code = ErrorCode.INVALID_REQUEST


def unreachable(url: str, error: Exception) -> GatewayError:
    """Return the error of a gateway that did not answer.

    Args:
        url: Of the gateway.
        error: What the HTTP library said.
    """
    detail = f"The gateway at {url} cannot be reached: {reason(error)}."
    return GatewayError(detail, hint="Check the URL; `visgate local status` tells about the one on this machine.")


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> GatewayError:
    """Return the error of a problem document (RFC 9457), or of an answer that is none.

    Args:
        status: HTTP status.
        headers: Of the answer, names in lower case.
        content: The whole body.
    """
    is_json = "json" in headers.get("content-type", "") and len(content) <= MAX_PROBLEM_BYTES
    error = problem(content.decode(errors="replace") if is_json else "", status=status)
    after = headers.get("retry-after", "")
    if after.isdigit():
        error.retry_after_s = float(after)
        error.hint = error.hint or f"Try again in {after} s."
    return error


def problem(text: str, *, status: int | None) -> GatewayError:
    """Return the error that a problem document tells of.

    Args:
        text: The document; anything else counts as one that says nothing.
        status: HTTP status, where the document has none.
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    found = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if isinstance(told := found.get("status"), int):
        status = status or told
    detail = str(found.get("detail") or f"The gateway answered {status or 'nothing that can be read'}.")
    request_id = str(found.get("request_id") or "") or None
    if request_id and status is not None and status >= _FAULT:
        detail = f"{detail} ({request_id})"
    code = found.get("code")
    return GatewayError(
        detail,
        hint=str(found.get("hint") or ""),
        code=ErrorCode(code) if code in tuple(ErrorCode) else None,
        status=status,
        errors=_fields(found.get("errors")),
        request_id=request_id,
    )


def reason(error: Exception) -> str:
    """Return what an HTTP library's error says, or its name where it says nothing."""
    return str(error).rstrip(".") or type(error).__name__


def _fields(errors: object) -> dict[str, str]:
    if not isinstance(errors, list):
        return {}
    entries = [cast("dict[str, Any]", entry) for entry in cast("list[object]", errors) if isinstance(entry, dict)]
    return {str(entry.get("field")): str(entry.get("detail")) for entry in entries}
