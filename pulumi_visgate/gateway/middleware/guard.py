"""The outermost layer: a request id, masking, security headers, and an answer for faults that nothing else caught."""

import logging
import re
import secrets
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import masking, problems
from pulumi_visgate.gateway.middleware import carried, fal_root

log = logging.getLogger(__name__)

_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Guard:
    """Wraps the whole application.

    Args:
        app: What is wrapped.
        platform_secrets: Masked in everything.
    """

    def __init__(self, app: ASGIApp, *, platform_secrets: Iterable[str] = ()) -> None:
        self._app = app
        self._secrets = tuple(platform_secrets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        masking.begin((*self._secrets, *carried.secrets(scope)))
        request_id = _request_id(scope)
        scope[problems.REQUEST_ID_KEY] = request_id
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if scope["path"].startswith(fal_root.PREFIX + "/"):
                    # Without it fal's clients take some errors for those of a proxy.
                    headers.setdefault("X-Fal-Request-Id", request_id)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            log.exception("request %s failed", request_id)
            if started:
                raise
            answer = problems.answer(problems.internal(), scope=scope)
            await answer(scope, receive, send_guarded)


def _request_id(scope: Scope) -> str:
    """Return the id that a proxy in front gave the request, or a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _GIVEN_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
