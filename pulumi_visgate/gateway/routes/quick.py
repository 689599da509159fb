"""The short way into the routes that are called most: their arguments are read here, not by FastAPI's router and graph.

Those cost more than all the rest of a warm hit. The routes are declared as any other, which describes them in the
OpenAPI document, and whatever is wrong with a request, or only unusual, is left to FastAPI.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, get_type_hints

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.middleware import auth, carried
from visgate_contract.errors import VisgateError

_JSON = "application/json"
_CONTENT_TYPE, _HF_TOKEN = b"content-type", auth.HF_HEADER.lower().encode()


class _QuickRoute:
    """One route that takes `body`, `caller`, `request`, `response` and at most one header."""

    def __init__(self, route: APIRoute, header: tuple[str, str, Any] | None) -> None:
        self._route = route
        self._act: Callable[..., Awaitable[BaseModel]] = route.endpoint
        self._body_type: type[BaseModel] = get_type_hints(route.endpoint)["body"]
        self._status_code = route.status_code or 200
        self._argument, self._header, check = header or ("", "", Any)
        self._header_name = self._header.lower().encode()
        self._check: TypeAdapter[Any] = TypeAdapter(check)

    async def respond(self, scope: Scope, content: bytes) -> Response | None:
        """Return the answer to a request, or None if FastAPI is to look at it.

        Args:
            scope: The request.
            content: Its body.
        """
        headers = dict(scope["headers"])
        key = carried.credential(scope)
        if key is None or key[0] != "bearer" or headers.get(_CONTENT_TYPE) != _JSON.encode():
            return None
        more: dict[str, Any] = {}
        try:
            found = from_json(content)
            body = self._body_type.model_validate(found)
            if self._argument:
                given = headers.get(self._header_name)
                more[self._argument] = self._check.validate_python(None if given is None else given.decode("latin-1"))
        except ValueError:
            return None
        scope["route"] = self._route  # as the router would have noted
        request = Request(scope)
        token = headers.get(_HF_TOKEN, b"").decode("latin-1")
        field = auth.HF_HEADER if token else "hf_token"
        try:
            caller = auth.caller_of(request, key[1], token or found.get("hf_token"), token_field=field)
            told = Response(status_code=self._status_code)
            answer = await self._act(body=body, caller=caller, request=request, response=told, **more)
        except VisgateError as error:
            problem, extra = problems.problem_of(error)
            return problems.answer(problem, extra, scope=scope)
        response = Response(answer.model_dump_json(), told.status_code, media_type=_JSON)
        response.raw_headers.extend(pair for pair in told.raw_headers if pair[0] != b"content-length")
        return response


class Shortcut:
    """Answers good requests to some routes without the application that it wraps.

    Args:
        app: What is wrapped; whatever reads bodies first is outside of this.
        routes: The routes by their paths; all of them are for `POST`.
    """

    def __init__(self, app: ASGIApp, *, routes: dict[str, _QuickRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        quick = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if quick is None:
            await self._app(scope, receive, send)
            return
        whole = await receive()
        response = await quick.respond(scope, whole["body"])
        if response is not None:
            await response(scope, receive, send)
            return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return whole

        await self._app(scope, replay, send)


def routes(routers: Iterable[APIRouter], headers: dict[str, tuple[str, str, Any]]) -> dict[str, _QuickRoute]:
    """Return the routes of routers by their paths.

    Args:
        routers: What holds them.
        headers: By path: the argument for a header, the header's name, and what its value has to be.
    """
    found = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {route.path: _QuickRoute(route, headers.get(route.path)) for route in found}
