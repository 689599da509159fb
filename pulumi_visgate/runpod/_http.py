"""What both clients do with httpx: limits, timeouts, bounded bodies, and what its errors mean."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any

import httpx

from pulumi_visgate.runpod._call import Reply
from pulumi_visgate.runpod._exchange import Fault, Send
from pulumi_visgate.runpod.logs import HEARTBEAT_S

# A followed log holds its connection for hours, so the ceiling is far above what calls alone would need.
LIMITS = httpx.Limits(max_connections=2_000, max_keepalive_connections=100, keepalive_expiry=30.0)

_CONNECT_S = 5.0
_MAX_BODY = 64 * 1024 * 1024  # a job's result is at most 20 MB


@cache
def user_agent() -> str:
    """Return the product token of this client."""
    return f"pulumi-visgate/{version('pulumi-visgate')}"


def arguments(step: Send) -> dict[str, Any]:
    """Return the arguments of httpx's request functions."""
    return {
        "method": step.method,
        "url": step.url,
        "headers": dict(step.headers),
        "json": step.json,
        "timeout": httpx.Timeout(step.timeout_s, connect=min(_CONNECT_S, step.timeout_s)),
    }


def opening(response: httpx.Response) -> Reply:
    """Return status and headers of a stream whose body is still to come, and let it be silent for a heartbeat."""
    response.request.extensions["timeout"]["read"] = HEARTBEAT_S  # the call's own deadline was for the headers
    return Reply(response.status_code, response.headers, b"")


class Body:
    """A body that is read in parts, and given up when it is too long or takes too long.

    Args:
        clock: Monotonic clock in seconds.
        timeout_s: When to give up, in seconds from now.
    """

    def __init__(self, clock: Callable[[], float], timeout_s: float) -> None:
        self._clock = clock
        self._deadline = clock() + timeout_s
        self._content = bytearray()

    def add(self, chunk: bytes) -> Fault | None:
        """Take a part; return why to give up, if so."""
        self._content += chunk
        if len(self._content) > _MAX_BODY:
            return Fault(f"the answer is longer than {_MAX_BODY} bytes", sent=True)
        if self._clock() > self._deadline:
            return TOO_SLOW
        return None

    def reply(self, response: httpx.Response) -> Reply:
        """Return the whole answer."""
        return Reply(response.status_code, response.headers, bytes(self._content))


TOO_SLOW = Fault("no complete answer in time", sent=True, timed_out=True)

_NO_CONNECTION = Fault("no connection in time", sent=False, timed_out=True)
_BROKEN = Fault("the connection broke before the answer was complete", sent=True)
_FAULTS: tuple[tuple[type[httpx.RequestError], Fault], ...] = (
    (httpx.ConnectTimeout, _NO_CONNECTION),
    (httpx.PoolTimeout, _NO_CONNECTION),
    (httpx.TimeoutException, TOO_SLOW),
    (httpx.ProxyError, Fault("the proxy did not let it through", sent=False)),
    (httpx.LocalProtocolError, Fault("the request could not be sent", sent=False)),
    (httpx.UnsupportedProtocol, Fault("the request could not be sent", sent=False)),
    (httpx.DecodingError, Fault("the answer's encoding is broken", sent=True)),
)


def fault_of(error: httpx.RequestError) -> Fault:
    """Return what an error of httpx means, without the request that it holds."""
    if isinstance(error, httpx.ConnectError):
        return Fault(f"not connected: {error}", sent=False)
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), _BROKEN)
