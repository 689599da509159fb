"""The outermost layer: ids, masking, headers, what logs and metrics tell, and an answer where nothing else has one."""

import logging
import re
import secrets
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import logs, masking, problems
from pulumi_visgate.gateway.middleware import carried, fal_root
from pulumi_visgate.gateway.state import State

log = logging.getLogger(__name__)

ADDED_HEADERS = "visgate_headers"
"""Where layers within put headers of the answer."""

_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Wraps the whole application.

    Args:
        app: What is wrapped.
        platform_secrets: Masked in everything.
    """

    def __init__(self, app: ASGIApp, *, platform_secrets: Iterable[str] = ()) -> None:
        self._app = app
        self._platform = masking.Masker(platform_secrets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        masking.begin(self._platform, carried.secrets(scope))
        request_id, traceparent = _ids(scope)
        logs.begin(request_id, traceparent)
        scope[problems.REQUEST_ID_KEY] = request_id
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _count(scope, status, time.perf_counter() - began)
                message["headers"] = _completed(message.get("headers", ()), scope, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise
            answer = problems.answer(problems.internal(), scope=scope)
            await answer(scope, receive, send_guarded)
        finally:
            took = time.perf_counter() - began
            logs.answered(method=scope["method"], route=route_of(scope), status=status, seconds=took)


def _completed(given: Iterable[tuple[bytes, bytes]], scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with those that every answer has, unless it has its own."""
    headers = list(given)
    present = {name for name, _ in headers}
    headers += [pair for pair in _HEADERS if pair[0] not in present]
    headers += scope.get(ADDED_HEADERS, ())
    headers.append((b"x-request-id", request_id.encode()))
    # Without it fal's clients take some errors for those of a proxy.
    if scope["path"].startswith(fal_root.PREFIX + "/") and b"x-fal-request-id" not in present:
        headers.append((b"x-fal-request-id", request_id.encode()))
    return headers


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request came to."""
    return getattr(scope.get("route"), "path", "unmatched")


def _count(scope: Scope, status: int, seconds: float) -> None:
    state = State.of_scope(scope)
    if state is not None:
        state.metrics.answered(route=route_of(scope), method=scope["method"], status=status, seconds=seconds)


def _ids(scope: Scope) -> tuple[str, str]:
    """Return the id that a proxy in front gave the request, or a new one, and its `traceparent`, or nothing."""
    headers = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    request_id = given if _GIVEN_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
    return request_id, headers.get(b"traceparent", b"").decode("latin-1")
