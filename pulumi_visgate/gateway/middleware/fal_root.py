"""fal's clients know a host and no path, so a request that carries fal's kind of key finds fal's routes at the root."""

from starlette.types import ASGIApp, Receive, Scope, Send

from pulumi_visgate.gateway.middleware import carried

PREFIX = "/fal"
_OWN = frozenset({"fal", "v1", "docs", "openapi.json", "healthz", "readyz", "metrics", ".well-known", ""})


class FalRoot:
    """Puts `/fal` in front of the path of requests with `Authorization: Key …`, unless it is one of the gateway's own.

    Args:
        app: What is wrapped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and _is_for_fal(scope):
            path = PREFIX + scope["path"]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def _is_for_fal(scope: Scope) -> bool:
    found = carried.credential(scope)
    first = scope["path"].lstrip("/").partition("/")[0]
    return found is not None and found[0] == "key" and first not in _OWN
