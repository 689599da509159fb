"""What the gateway writes about itself: one record a line, masked, with the request that it belongs to."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from pulumi_visgate.gateway.masking import MaskingFormatter

ACCESS = "pulumi_visgate.gateway.access"
"""Logger of one record for each request; what it tells comes from no caller, so it is not masked again."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

_access = logging.getLogger(ACCESS)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request at hand, as far as logs tell.

    Args:
        request_id: Its id.
        trace_id: The trace that its caller told of (W3C Trace Context), if any.
    """

    request_id: str
    trace_id: str | None


_current: ContextVar[RequestContext | None] = ContextVar("visgate_gateway_request", default=None)


def begin(request_id: str, traceparent: str) -> None:
    """Let records from now on belong to a request.

    Args:
        request_id: Its id.
        traceparent: The header of this name, or nothing.
    """
    traced = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    _current.set(RequestContext(request_id, traced[1] if traced else None))


def traced(trace_id: str) -> None:
    """Let records from now on name this trace."""
    request = _current.get()
    if request is not None:
        _current.set(replace(request, trace_id=trace_id))


def answered(*, method: str, route: str, status: int, seconds: float) -> None:
    """Write the record of a request.

    Args:
        method: HTTP method.
        route: The route's template, so nothing that the caller wrote.
        status: Of the answer; 0 if the caller left before it.
        seconds: Until the end of the answer.
    """
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if _access.isEnabledFor(level):
        fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
        _access.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


class TextFormatter(MaskingFormatter):
    """Records for people, each with its request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the masked line or lines."""
        text = super().format(record)
        fields: dict[str, Any] = getattr(record, "fields", {})
        if seconds := fields.get("seconds"):
            text = f"{text} {seconds * 1000:.1f} ms"
        request = _current.get()
        return text if request is None else f"{text} [{request.request_id}]"


class JsonFormatter(MaskingFormatter):
    """Records for machines: JSON, one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the masked object."""
        is_safe = record.name == ACCESS
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        shown: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if is_safe else self.masked(record.getMessage()),
        }
        request = _current.get()
        if request is not None:
            shown["request_id"] = request.request_id
            if request.trace_id is not None:
                shown["trace_id"] = request.trace_id
        shown.update(getattr(record, "fields", {}))
        if record.exc_info:
            shown["exception"] = self.masked(self.formatException(record.exc_info))
        return json.dumps(shown, default=str)


def configure(level: str, form: str, platform_secrets: Iterable[str]) -> None:
    """Send every logger of the process, uvicorn's too, through one masking handler on standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `json` or `text`.
        platform_secrets: Masked in every record.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if form == "json" else TextFormatter)(platform_secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers:
            logger.handlers.clear()
            logger.propagate = True
    # These log every request line of their own at INFO, headers at DEBUG.
    for name in ("httpx", "httpcore", "botocore", "boto3", "urllib3", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.WARNING)
