"""Limits by Runpod key and by address, with the headers of the IETF draft (`RateLimit`, `RateLimit-Policy`).

Memory of this process holds the counters, keyed by hashes; they say nothing about anyone once their window is over.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulumi_visgate.gateway import problems
from pulumi_visgate.gateway.middleware import carried
from pulumi_visgate.gateway.problems import Refused
from visgate_contract.errors import ErrorCode
from visgate_contract.names import user_hash

_UNLIMITED = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True, slots=True)
class _Window:
    """What is left of one limit: `left` requests until `resets_s` seconds from now."""

    name: str
    quota: int
    window_s: int
    left: int
    resets_s: int


class RateLimit:
    """Refuses requests over the limits with 429 and says when to come back.

    Args:
        app: What is wrapped.
        per_user: Limits of one key, such as `20/second;600/minute`.
        per_ip: Limits of one address.
    """

    def __init__(self, app: ASGIApp, *, per_user: str, per_ip: str) -> None:
        self._app = app
        self._per_user = parse_many(per_user)
        self._per_ip = parse_many(per_ip)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        allowed, window = await self._count(scope)
        headers = {
            "RateLimit-Policy": f'"{window.name}";q={window.quota};w={window.window_s}',
            "RateLimit": f'"{window.name}";r={window.left};t={window.resets_s}',
        }

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if allowed:
            await self._app(scope, receive, send_with_limits)
            return
        error = Refused(
            429,
            f"More than {window.quota} requests in {window.window_s} s from one {window.name}.",
            code=ErrorCode.RATE_LIMITED,
            hint="Wait as Retry-After says.",
            headers={"Retry-After": str(window.resets_s)},
        )
        problem, extra = problems.problem_of(error)
        answer = problems.answer(problem, extra, scope=scope)
        await answer(scope, receive, send_with_limits)

    async def _count(self, scope: Scope) -> tuple[bool, _Window]:
        """Count a request; return whether it may pass, and the limit that is nearest to its end."""
        address = scope["client"][0] if scope.get("client") else "unknown"
        checks: list[tuple[str, str, Sequence[RateLimitItem]]] = [("address", address, self._per_ip)]
        key = carried.key(scope)
        if key is not None:
            checks.append(("key", user_hash(key), self._per_user))
        allowed, tightest = True, None
        for name, identity, items in checks:
            for item in items:
                passed = await self._limiter.hit(item, name, identity)
                window = await self._window(name, identity, item, passed=passed)
                if not passed:
                    return False, window
                if tightest is None or window.left / window.quota < tightest.left / tightest.quota:
                    tightest = window
        if tightest is None:
            detail = "limits must name at least one limit"
            raise ValueError(detail)
        return allowed, tightest

    async def _window(self, name: str, identity: str, item: RateLimitItem, *, passed: bool) -> _Window:
        stats = await self._limiter.get_window_stats(item, name, identity)
        resets_s = max(1, math.ceil(stats.reset_time - time.time()))
        return _Window(name, item.amount, item.get_expiry(), stats.remaining if passed else 0, resets_s)
