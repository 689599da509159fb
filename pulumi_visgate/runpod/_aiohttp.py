"""The network of the asynchronous client: aiohttp's connections, and what its errors say about a request.

Two habits of aiohttp are undone here. It sends an idempotent request again by itself when a kept connection turns out
to be dead, where the client counts on one sending for each step. And it takes an answer that nobody asked for as that
of the connection's next request, where connections are shared by callers who must not see each other's answers.
"""

import asyncio
import select
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
import httpx
from pydantic_core import to_json
from yarl import URL

from pulumi_visgate.runpod._exchange import Fault, Send
from pulumi_visgate.runpod._http import (
    BROKEN,
    CONNECT_S,
    KEEP_S,
    MAX_CONNECTIONS,
    NO_CONNECTION,
    NOT_LET_THROUGH,
    TOO_SLOW,
    UNSENDABLE,
)
from pulumi_visgate.runpod._transport import Broken

_JSON = "application/json"
_AT_ONCE = 512 * 1024  # aiohttp writes bytes in one go, and anything like a file in parts


class AiohttpTransport:
    """Connections of one event loop, opened with the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tls = httpx.create_ssl_context()  # the authorities that the blocking client trusts
        self._tls.set_alpn_protocols(["http/1.1"])
        self._proxies: dict[tuple[str, str | None], str | None] = {}

    async def send(self, step: Send, *, silence_s: float | None = None) -> "_Answer":
        """Send a request and return its answer once the headers are here.

        Args:
            step: The request.
            silence_s: Longest time in seconds between two parts of the body.

        Raises:
            Broken: There is no answer.
        """
        session = self._session or self._opened()
        url = URL(step.url, encoded=True)
        body: aiohttp.BytesPayload | BytesIO | None = None
        headers = step.headers
        if step.json is not None:
            content = to_json(step.json, inf_nan_mode="null")
            headers = {**headers, "Content-Type": _JSON}
            # A payload of its own kind spares a search through all kinds.
            body = aiohttp.BytesPayload(content, content_type=_JSON) if len(content) <= _AT_ONCE else BytesIO(content)
        try:
            response = await session.request(
                step.method,
                url,
                data=body,
                headers=headers,
                proxy=self._proxy(url),
                timeout=aiohttp.ClientTimeout(connect=min(CONNECT_S, step.timeout_s), sock_read=silence_s),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, _Lost) as error:
            fault = fault_of(error)
        else:
            return _Answer(response)
        raise Broken(fault)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                ssl=self._tls,
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_S,
                resolver=aiohttp.ThreadedResolver(),  # the system's, whatever else is installed
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_once,),
        )
        return self._session

    def _proxy(self, url: URL) -> str | None:
        """Return the proxy that the environment names for an address; aiohttp's own way asks a thread each time."""
        key = (url.scheme, url.host)
        if key not in self._proxies:
            self._proxies[key] = _proxy_for(url)
        return self._proxies[key]


def _proxy_for(url: URL) -> str | None:
    if url.host is None or proxy_bypass(url.host):
        return None
    found = getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class _Answer:
    """An answer of aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = _joined(response)

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except aiohttp.ClientError as error:
            fault = fault_of(error)
        raise Broken(fault)

    async def aclose(self) -> None:
        self._response.release()
        await self._response.wait_for_close()


def _joined(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    if len(set(response.headers)) == len(response.headers):
        return response.headers  # each came once; names are found in any case
    joined: dict[str, str] = {}
    for given, value in response.headers.items():
        name = given.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


class _Connector(aiohttp.TCPConnector):
    """Keeps connections, but none with something to read before a request: an end, or an answer that nobody asked for.

    aiohttp looks only at what the event loop has read so far, so it would send into a connection that has just ended.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType] - a type of aiohttp is incomplete
        self._kept: WeakSet[asyncio.BaseProtocol] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = connection.protocol
            if protocol is None or protocol not in self._kept:
                if protocol is not None:
                    self._kept.add(protocol)
                return connection
            if not protocol.should_close and not _has_something_to_read(protocol.transport):
                return connection
            connection.close()


def _has_something_to_read(transport: asyncio.BaseTransport | None) -> bool:
    number = -1 if transport is None else transport.get_extra_info("socket").fileno()
    if number < 0:
        return True  # closed by now
    if sys.platform == "win32":
        return bool(select.select([number], [], [], 0)[0])
    asked = select.poll()
    asked.register(number, select.POLLIN)
    return bool(asked.poll(0))


class _Lost(Exception):  # noqa: N818, as aiohttp must not know it for an error of its own
    """The connection broke after it was there."""


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once: aiohttp repeats some after these two errors, though the first may have arrived."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        pass
    raise _Lost


_FAULTS: tuple[tuple[type[aiohttp.ClientError], Fault], ...] = (
    (aiohttp.ConnectionTimeoutError, NO_CONNECTION),
    (aiohttp.ServerTimeoutError, TOO_SLOW),
    (aiohttp.ClientProxyConnectionError, NOT_LET_THROUGH),
    (aiohttp.ClientHttpProxyError, NOT_LET_THROUGH),
    (aiohttp.InvalidURL, UNSENDABLE),
)


def fault_of(error: aiohttp.ClientError | _Lost) -> Fault:
    """Return what an error of aiohttp means, without the request that it holds.

    Only what is raised before a connection is there counts as not sent; whatever is not known may have arrived.
    """
    found = next((fault for kind, fault in _FAULTS if isinstance(error, kind)), None)
    if found is None and isinstance(error, aiohttp.ClientConnectorError):
        return Fault(f"not connected: {error}", sent=False)
    return found or BROKEN
