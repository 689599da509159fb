"""Behind a CDN: only what it has sent is served, and the caller's address is the one that it tells."""

import hmac
import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.problems import Refused
from visgate_contract.errors import ErrorCode

ORIGIN_HEADER = b"x-visgate-origin"
CLIENT_HEADER = b"x-visgate-client"
_PROBES = frozenset({"/healthz", "/readyz"})  # asked from inside, and they tell nothing


class OriginGate:
    """Refuses requests that do not carry the secret of the CDN in front.

    Args:
        app: What is wrapped.
        secret: What the CDN sends in `X-Visgate-Origin`.
    """

    def __init__(self, app: ASGIApp, *, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        shown = [value for name, value in scope["headers"] if name == ORIGIN_HEADER]
        if len(shown) != 1 or not hmac.compare_digest(shown[0], self._secret):
            hint = "Use the platform's public address."
            error = Refused(403, "This address is not for callers.", code=ErrorCode.INVALID_REQUEST, hint=hint)
            problem, extra = problems.problem_of(error)
            await problems.answer(problem, extra, scope=scope)(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in (ORIGIN_HEADER, CLIENT_HEADER)]
        # In place: what is outside of this layer reads from the scope which route it was.
        scope["client"] = _address(scope) or scope.get("client")
        scope["headers"] = headers
        await self._app(scope, receive, send)


def _address(scope: Scope) -> tuple[str, int] | None:
    """Return the caller's address as the CDN tells it, or None."""
    told = next((value for name, value in scope["headers"] if name == CLIENT_HEADER), b"")
    try:
        return str(ipaddress.ip_address(told.decode("latin-1"))), 0
    except ValueError:
        return None
