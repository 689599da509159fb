"""`/metrics`: figures for Prometheus, for whoever has the platform's token."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.routes.responses import bare_problems
from pulumi_visgate.gateway.state import State
from visgate_contract.errors import ErrorCode

router = APIRouter(tags=["probes"])

_token = HTTPBearer(
    auto_error=False,
    scheme_name="MetricsToken",
    description="`VISGATE_GATEWAY_METRICS_TOKEN` of whoever runs the gateway; not a Runpod API key.",
)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "All figures.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **bare_problems(401, 404, 429),
    },
)
async def metrics(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_token)],
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Tell what this process has counted; nothing of it is about anyone. Whoever runs the gateway sets the token."""
    state = State.of(request)
    expected = state.settings.metrics_token
    if given is not None and expected is None:
        hint = "Whoever runs the gateway sets VISGATE_GATEWAY_METRICS_TOKEN."
        raise Refused(404, "This gateway tells no figures.", code=ErrorCode.NOT_FOUND, hint=hint)
    if given is None or expected is None or not _same(given.credentials, expected):
        hint = "Send it as `Authorization: Bearer <token>`; a Runpod API key does not open this."
        raise Refused(
            401,
            "This needs the gateway's metrics token.",
            code=ErrorCode.UNAUTHORIZED,
            hint=hint,
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    body, media_type = state.metrics.exposition(accept)
    return Response(body, headers={"Content-Type": media_type})


def _same(told: str, expected: SecretStr) -> bool:
    return hmac.compare_digest(told.encode(), expected.get_secret_value().encode())
