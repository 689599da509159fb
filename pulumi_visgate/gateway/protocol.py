"""HTTP/1.1 with limits that the server lacks: how large the head of a request may be, and how long it may take."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 20.0
"""How long a client may take for the head of a request, from its first byte or from the connection's beginning."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Whoever sends more, or more slowly, than any client does is refused and hung up on."""

    _is_in_head = True
    _received = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part, which ends a head or may be one too many of it."""
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._received += len(data)
            if self._received > MAX_HEAD_BYTES:
                self.send_400_response("The head of this request is too large.")

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        if not self._is_in_head:
            self._begin_head()

    def on_headers_complete(self) -> None:
        """Accept a head.

        Raises:
            ValueError: It is too large, or does not name one host (RFC 9112 §3.2); the parser answers 400.
        """
        self._end_head()
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            message = "the head is too large"
            raise ValueError(message)
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            message = "there is not one host"
            raise ValueError(message)
        super().on_headers_complete()

    def _begin_head(self) -> None:
        self._is_in_head, self._received = True, 0
        self._late = self.loop.call_later(HEAD_S, self._hang_up)

    def _end_head(self) -> None:
        self._is_in_head = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._late = self.loop.call_later(HEAD_S, self._hang_up)  # it is the answer before that takes so long
        elif not self.transport.is_closing():
            self.transport.close()
