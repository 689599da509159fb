"""What the hub of this machine does not have: asked of the hub behind it, and passed on as it comes."""

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_PASSED_ON = ("authorization", "range", "if-range", "user-agent", "accept-encoding")
_DROPPED = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Upstream:
    """Another hub.

    Args:
        endpoint: Its base URL.
        http: Talks to it; redirects are for whoever asked.
    """

    def __init__(self, endpoint: str, http: httpx.AsyncClient) -> None:
        self._endpoint = endpoint
        self._http = http

    async def serve(self, request: Request) -> Response:
        """Pass a request on, and the answer back; redirects within the other hub come back here."""
        root = request.scope.get("root_path", "")
        path = request.scope["path"].removeprefix(root)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = httpx.URL(self._endpoint + path).copy_with(query=request.scope["query_string"] or None)
        try:
            sent = self._http.build_request(request.method, url, headers=headers, timeout=_TIMEOUT)
            answer = await self._http.send(sent, stream=True)
        except httpx.HTTPError as error:
            reason = f"{path} is not on this machine, and {self._endpoint} does not answer: {type(error).__name__}"
            return Response(status_code=504, headers={"x-error-message": reason})
        kept = {name: value for name, value in answer.headers.items() if name not in _DROPPED}
        if kept.get("location", "").startswith("/"):
            kept["location"] = root + kept["location"]
        return StreamingResponse(
            answer.aiter_raw(), status_code=answer.status_code, headers=kept, background=BackgroundTask(answer.aclose)
        )
