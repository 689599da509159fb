"""Limits by Runpod key and by address, with the headers of the IETF draft `ratelimit-headers-10`."""

import math

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.middleware import carried
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services.limiter import Decision
from pulumi_visgate.gateway.state import State
from visgate_contract.errors import ErrorCode
from visgate_contract.names import user_hash

_UNLIMITED = frozenset({"/healthz", "/readyz"})


class RateLimit:
    """Refuses requests over the limits with 429 and says when to come back.

    Args:
        app: What is wrapped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = State.of_application(scope["app"]) if scope["type"] == "http" else None
        if state is None or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        key = carried.key(scope)
        address = scope["client"][0] if scope.get("client") else "unknown"
        decisions = await state.limiter.take(address=address, user_hash=None if key is None else user_hash(key))
        headers = _headers(decisions)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        refused = next((decision for decision in decisions if not decision.allowed), None)
        if refused is None:
            await self._app(scope, receive, send_with_limits)
            return
        problem, extra = problems.problem_of(_refusal(refused))
        answer = problems.answer(problem, extra, scope=scope)
        await answer(scope, receive, send_with_limits)


def _headers(decisions: list[Decision]) -> dict[str, str]:
    """Return all limits, and what is left of the one that is nearest to its end."""
    tightest = min(decisions, key=lambda decision: decision.left / decision.burst)
    return {
        "RateLimit-Policy": ", ".join(decision.policy for decision in decisions),
        "RateLimit": tightest.state,
    }


def _refusal(refused: Decision) -> Refused:
    return Refused(
        429,
        f"Too many requests of one {refused.name}: {refused.burst} may come at once, "
        f"and {refused.burst / refused.fills_s:g} a second after that.",
        code=ErrorCode.RATE_LIMITED,
        hint="Wait as Retry-After says.",
        headers={"Retry-After": str(max(1, math.ceil(refused.retry_s)))},
    )
