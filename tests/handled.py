"""A transport of the asynchronous Runpod client whose answers come from a function, as `httpx.MockTransport` has it."""

from collections.abc import Callable, Coroutine, Mapping

import httpx

from pulumi_visgate.runpod._exchange import Send
from pulumi_visgate.runpod._http import arguments, fault_of
from pulumi_visgate.runpod._transport import Broken

Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Handled:
    """Hands every request to a handler, which answers or raises an error of httpx."""

    def __init__(self, handler: Handler) -> None:
        self._transport = httpx.MockTransport(handler)

    async def send(self, step: Send, *, silence_s: float | None = None) -> "_Answer":
        given = arguments(step)
        request = httpx.Request(extensions={"timeout": given.pop("timeout").as_dict()}, **given)
        try:
            return _Answer(await self._transport.handle_async_request(request))
        except httpx.RequestError as error:
            raise Broken(fault_of(error)) from None

    async def aclose(self) -> None:
        pass


class _Answer:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._parts = response.aiter_bytes()
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        try:
            return await anext(self._parts, b"")
        except httpx.RequestError as error:
            raise Broken(fault_of(error)) from None

    async def aclose(self) -> None:
        await self._response.aclose()
