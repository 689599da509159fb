"""What both clients share about HTTP: limits, bounded bodies, the words for what fails; and how httpx is asked."""

from collections.abc import Callable, Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import httpx

from pulumi_visgate.runpod._call import Reply
from pulumi_visgate.runpod._exchange import Fault, Send
from pulumi_visgate.runpod.logs import HEARTBEAT_S

# A followed log holds its connection for hours, so the ceiling is far above what calls alone would need.
MAX_CONNECTIONS = 2_000
KEEP_S = 30.0
LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=KEEP_S)

CONNECT_S = 5.0
_MAX_BODY = 64 * 1024 * 1024  # a job's result is at most 20 MB

TOO_SLOW = Fault("no complete answer in time", sent=True, timed_out=True)
NO_CONNECTION = Fault("no connection in time", sent=False, timed_out=True)
NOT_LET_THROUGH = Fault("the proxy did not let it through", sent=False)
UNSENDABLE = Fault("the request could not be sent", sent=False)
UNREADABLE = Fault("the answer's encoding is broken", sent=True)
BROKEN = Fault("the connection broke before the answer was complete", sent=True)


@cache
def user_agent() -> str:
    """Return the product token of this client."""
    return f"pulumi-visgate/{version('pulumi-visgate')}"


def no_cookies() -> CookieJar:
    """Return a jar that takes none: callers who share a client have nothing in common."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def arguments(step: Send) -> dict[str, Any]:
    """Return the arguments of httpx's request functions."""
    return {
        "method": step.method,
        "url": step.url,
        "headers": dict(step.headers),
        "json": step.json,
        "timeout": httpx.Timeout(step.timeout_s, connect=min(CONNECT_S, step.timeout_s)),
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

    def reply(self, status: int, headers: Mapping[str, str]) -> Reply:
        """Return the whole answer."""
        return Reply(status, headers, bytes(self._content))


_FAULTS: tuple[tuple[type[httpx.RequestError], Fault], ...] = (
    (httpx.ConnectTimeout, NO_CONNECTION),
    (httpx.PoolTimeout, NO_CONNECTION),
    (httpx.TimeoutException, TOO_SLOW),
    (httpx.ProxyError, NOT_LET_THROUGH),
    (httpx.LocalProtocolError, UNSENDABLE),
    (httpx.UnsupportedProtocol, UNSENDABLE),
    (httpx.DecodingError, UNREADABLE),
)


def fault_of(error: httpx.RequestError) -> Fault:
    """Return what an error of httpx means, without the request that it holds."""
    if isinstance(error, httpx.ConnectError):
        return Fault(f"not connected: {error}", sent=False)
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), BROKEN)
