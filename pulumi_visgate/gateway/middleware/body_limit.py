"""A cap on request bodies, on what arrives and not only on what is announced, and a time limit for slow ones."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services import tickets
from visgate_contract.errors import ErrorCode

READ_S = 15.0
REPORT_BYTES = 1024 * 1024
"""What Runpod's report of a finished job may hold beside the request that it repeats."""


class BodyLimit:
    """Reads the body before the application does.

    Args:
        app: What is wrapped.
        max_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(READ_S):
                body = await self._read(scope, receive)
        except TimeoutError:
            hint = "Send the body at once."
            error = Refused(408, "The body did not arrive in time.", code=ErrorCode.INVALID_REQUEST, hint=hint)
            await self._refuse(error, scope, receive, send)
            return
        except Refused as error:
            await self._refuse(error, scope, receive, send)
            return
        if body is None:
            return
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or None when the client has gone.

        Raises:
            Refused: It is too large (413).
        """
        limit = self._max_bytes + (REPORT_BYTES if scope["path"].startswith(tickets.PATH) else 0)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            raise self._too_large(limit)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise self._too_large(limit)
            if not message.get("more_body", False):
                return bytes(body)

    @staticmethod
    def _too_large(limit: int) -> Refused:
        detail = f"The body has more than {limit} bytes."
        hint = "Send files by URL, not inline."
        return Refused(413, detail, code=ErrorCode.INVALID_REQUEST, hint=hint, headers={"Connection": "close"})

    @staticmethod
    async def _refuse(error: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        problem, headers = problems.problem_of(error)
        answer = problems.answer(problem, headers, scope=scope)
        await answer(scope, receive, send)
