"""The short way into the route that is called most: its arguments are read here, not by FastAPI's dependency graph.

The graph costs more than all the rest of a warm hit. The route is declared as any other, which describes it in the
OpenAPI document, and whatever is wrong with a request, or only unusual, is left to FastAPI.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic_core import from_json

from pulumi_visgate.gateway.middleware import auth, carried
from pulumi_visgate.gateway.routes.schemas import JobAnswer, JobRequestBody

_JSON = "application/json"


def route(*, argument: str, header: str, header_type: Any) -> type[APIRoute]:
    """Return the class of a route that takes `body`, `caller`, `request`, `response` and one optional header.

    Args:
        argument: Name of the argument that the header is for.
        header: Name of the header.
        header_type: What its value has to be.
    """
    check: TypeAdapter[str | None] = TypeAdapter(header_type)

    class QuickRoute(APIRoute):
        """A route that FastAPI describes and checks, and that good requests reach without it."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            thorough = super().get_route_handler()
            submit: Callable[..., Awaitable[JobAnswer]] = self.endpoint
            status_code = self.status_code or 200

            async def handle(request: Request) -> Response:
                key = carried.credential(request.scope)
                if key is None or key[0] != "bearer" or request.headers.get("content-type") != _JSON:
                    return await thorough(request)
                try:
                    found = from_json(await request.body())
                    body = JobRequestBody.model_validate(found)
                    value = check.validate_python(request.headers.get(header))
                except ValueError:
                    return await thorough(request)
                token = request.headers.get(auth.HF_HEADER)
                field = auth.HF_HEADER if token else "hf_token"
                caller = auth.caller_of(request, key[1], token or found.get("hf_token"), token_field=field)
                more = Response()
                del more.headers["content-length"]
                answer = await submit(body=body, caller=caller, request=request, response=more, **{argument: value})
                response = Response(answer.model_dump_json(), status_code, media_type=_JSON)
                response.raw_headers.extend(more.raw_headers)
                return response

            return handle

    return QuickRoute
