"""Limits by Runpod key and by address, with the headers of the IETF draft `ratelimit-headers-10`."""

import math

from starlette.types import ASGIApp, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.middleware import carried
from pulumi_visgate.gateway.middleware.guard import ADDED_HEADERS
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
        state = State.of_scope(scope) if scope["type"] == "http" else None
        if state is None or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        key = carried.key(scope)
        address = scope["client"][0] if scope.get("client") else "unknown"
        decisions = await state.limiter.take(address=address, user_hash=None if key is None else user_hash(key))
        scope[ADDED_HEADERS] = _headers(decisions)
        refused = decisions[-1]
        if refused.allowed:
            await self._app(scope, receive, send)
            return
        problem, extra = problems.problem_of(_refusal(refused))
        answer = problems.answer(problem, extra, scope=scope)
        await answer(scope, receive, send)


def _headers(decisions: list[Decision]) -> tuple[tuple[bytes, bytes], ...]:
    """Return all limits, and what is left of the one that is nearest to its end."""
    tightest = min(decisions, key=_part_left)
    policies = ", ".join([decision.policy for decision in decisions])
    return (b"ratelimit-policy", policies.encode()), (b"ratelimit", tightest.state.encode())


def _part_left(decision: Decision) -> float:
    return decision.left / decision.burst


def _refusal(refused: Decision) -> Refused:
    return Refused(
        429,
        f"Too many requests of one {refused.name}: {refused.burst} may come at once, "
        f"and {refused.burst / refused.fills_s:g} a second after that.",
        code=ErrorCode.RATE_LIMITED,
        hint="Wait as Retry-After says.",
        headers={"Retry-After": str(max(1, math.ceil(refused.retry_s)))},
    )
