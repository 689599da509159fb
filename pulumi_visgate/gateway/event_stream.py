"""Server-sent events as an answer, made for thousands that are open and silent: three small tasks for each, no more."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

SLOW_S = 60.0
"""A client that takes nothing for so long is hung up on."""

# A comment without the empty line that ends an event: some clients take a second one for an empty event.
_HEARTBEAT = b": still here\n"


class OpenStreams:
    """The streams that are open, so that an ending process can end them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[None]] = set()
        self._is_closing = False

    def add(self, stream: "asyncio.Future[None]") -> None:
        """Note a stream; one that opens while the process ends is ended at once."""
        if self._is_closing:
            stream.cancel()
            return
        self._tasks.add(stream)
        stream.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End every stream; the clients come back to another process, or to the next one."""
        self._is_closing = True
        for stream in tuple(self._tasks):
            stream.cancel()


class EventStream(Response):
    """A stream of events.

    Args:
        content: Encoded events, one or more in each piece; closed at the end.
        status_code: HTTP status.
        heartbeat_s: Seconds of silence after which a comment is sent.
        streams: Where it is noted.
    """

    media_type = "text/event-stream"

    def __init__(
        self, content: AsyncGenerator[bytes, None], status_code: int = 200, *, heartbeat_s: float, streams: OpenStreams
    ) -> None:
        self.status_code = status_code
        self.background = None
        self._content = content
        self._heartbeat_s = heartbeat_s
        self._streams = streams
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002, as ASGI has it
        """Serve one request."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        over = asyncio.ensure_future(_hung_up(receive))
        self._streams.add(over)
        try:
            await self._send_all(send, over)
        except TimeoutError:
            log.info("a client took nothing for %g s", SLOW_S)
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def _send_all(self, send: Send, over: "asyncio.Future[None]") -> None:
        piece: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                piece = piece or asyncio.create_task(self._next())
                waited_for: set[asyncio.Future[Any]] = {piece, over}
                await asyncio.wait(waited_for, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    break
                body = _HEARTBEAT
                if piece.done():
                    found, piece = piece.result(), None
                    if found is None:
                        break
                    body = found
                async with asyncio.timeout(SLOW_S):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            if piece is not None:
                piece.cancel()
                await asyncio.gather(piece, return_exceptions=True)
            await self._content.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes | None:
        return await anext(self._content, None)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
