"""A span around every request; there is no such layer unless tracing is configured."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway.middleware.guard import route_of
from pulumi_visgate.gateway.state import State

_CARRIED = frozenset({b"traceparent", b"tracestate"})


class Trace:
    """Opens the span of a request, which calls to Runpod then belong to.

    Args:
        app: What is wrapped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = State.of_scope(scope) if scope["type"] == "http" else None
        if state is None or state.tracing is None:
            await self._app(scope, receive, send)
            return
        status, method = 0, scope["method"]

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        with state.tracing.request(method, carrier) as span:
            try:
                await self._app(scope, receive, send_noted)
            finally:
                state.tracing.answered(span, method=method, route=route_of(scope), status=status)
