"""When to wait, when to try again and when to stop: pure decisions over numbers and errors. Imports errors only.

Retries follow one rule: a call that may have changed something is sent again only when doing so twice does no more
than doing so once, or when it is certain that nothing happened.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import http_sf

from pulumi_visgate.runpod.errors import (
    DeadlineExceeded,
    RateLimited,
    RunpodApiError,
    RunpodError,
    RunpodUnreachable,
    ServerFault,
)

_SAME_WINDOW_S = 1.0  # headers count whole seconds, so two resets this close are the same one


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a call is repeated.

    Args:
        attempts: Most times a call is sent.
        base_s: Longest first wait in seconds; it doubles with each attempt.
        cap_s: Longest wait in seconds.
        attempt_s: Longest time in seconds for one attempt of a repeatable call, so that a hang leaves time for another.
        quota_wait_s: Seconds that a call may wait for the account's quota on top of its deadline.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 8.0
    attempt_s: float = 10.0
    quota_wait_s: float = 0.0

    def wait_s(self, failure: RunpodError, *, attempt: int, repeatable: bool, jitter: float) -> float | None:
        """Return the seconds to wait before sending again, None to give up.

        Args:
            failure: What the attempt ended with.
            attempt: Number of the attempt, from 1.
            repeatable: The call may be sent twice.
            jitter: Random number from 0 to 1; the wait is spread over the whole range ("full jitter").
        """
        if attempt >= self.attempts or not may_repeat(failure, repeatable=repeatable):
            return None
        told = failure.retry_after_s if isinstance(failure, RunpodApiError) else None
        backoff = jitter * min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        if told is None:
            return backoff
        return told + min(backoff, self.base_s)

    def attempt_timeout_s(self, remaining_s: float, *, repeatable: bool) -> float:
        """Return how long one attempt may take, in seconds."""
        return min(remaining_s, self.attempt_s) if repeatable else remaining_s


@dataclass(slots=True)
class Limit:
    """When a call must be over; waiting for the quota has an allowance of its own.

    Args:
        deadline: End of the call, on the client's clock.
        allowance_s: Seconds of waiting for the quota that move the end.
    """

    deadline: float
    allowance_s: float

    def permits(self, until: float, *, quota: bool) -> bool:
        """Tell whether the call may wait until then."""
        return until < self.deadline + (self.allowance_s if quota else 0.0)

    def extend(self, waited_s: float) -> None:
        """Take note of a wait for the quota."""
        extra_s = min(waited_s, self.allowance_s)
        self.deadline += extra_s
        self.allowance_s -= extra_s


def may_repeat(failure: RunpodError, *, repeatable: bool) -> bool:
    """Tell whether a failed call can be sent again without doing something twice."""
    if isinstance(failure, RateLimited):
        return True
    if isinstance(failure, ServerFault):
        refused = failure.status == HTTPStatus.SERVICE_UNAVAILABLE and failure.retry_after_s is not None
        return repeatable or refused
    if isinstance(failure, RunpodUnreachable | DeadlineExceeded):
        return repeatable or not failure.sent
    return False


def left_traces(failure: RunpodError) -> bool:
    """Tell whether a failed call may nevertheless have done its work."""
    if isinstance(failure, RunpodUnreachable | DeadlineExceeded):
        return failure.sent
    return isinstance(failure, ServerFault)


@dataclass(slots=True)
class _Window:
    remaining: int
    resets_at: float


class Quota:
    """What is left of an account's request quota, as all clients of one key in this process see it.

    Each request is claimed before it is sent, so that parallel requests do not all spend the same last one. Times are
    seconds of one monotonic clock. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._policies: dict[str, tuple[int, float]] = {}
        self._in_flight = 0
        self._blocked_until = 0.0

    def claim(self, now: float) -> float:
        """Claim one request; return 0 when it may be sent now, else the seconds until asking again."""
        with self._lock:
            self._renew(now)
            closed = [window.resets_at for window in self._windows.values() if window.remaining <= 0]
            opens_at = max([self._blocked_until, *closed])
            if opens_at > now:
                return opens_at - now
            for window in self._windows.values():
                window.remaining -= 1
            self._in_flight += 1
            return 0.0

    def release(self) -> None:
        """Give the place of an answered or failed request back."""
        with self._lock:
            self._in_flight -= 1

    def observe(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from the `RateLimit` and `RateLimit-Policy` headers (IETF ratelimit-headers draft) of an answer."""
        policies = _members(headers.get("ratelimit-policy", ""))
        states = _members(headers.get("ratelimit", ""))
        with self._lock:
            for name, values in policies.items():
                if "q" in values and "w" in values:
                    self._policies[name] = (int(values["q"]), float(values["w"]))
            for name, values in states.items():
                if "r" in values and "t" in values:
                    self._learn(name, int(values["r"]), now + float(values["t"]))

    def left(self) -> float | None:
        """Return the part of the quota that is left, of the window with least; None if none is known."""
        parts = [
            max(0, window.remaining) / self._policies[name][0]
            for name, window in self._windows.items()
            if name in self._policies and self._policies[name][0]
        ]
        return min(parts, default=None)

    def block(self, until: float) -> None:
        """Hold every request back until then, because one was refused."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, until)

    def _learn(self, name: str, remaining: int, resets_at: float) -> None:
        known = self._windows.get(name)
        if known is None or resets_at > known.resets_at + _SAME_WINDOW_S:
            # The answer that opens a window cannot know of the other requests that are still under way.
            self._windows[name] = _Window(remaining - self._in_flight, resets_at)
        elif abs(resets_at - known.resets_at) <= _SAME_WINDOW_S:
            known.remaining = min(known.remaining, remaining)

    def _renew(self, now: float) -> None:
        for name in [name for name, window in self._windows.items() if window.resets_at <= now]:
            del self._windows[name]
            if name in self._policies:
                quota, length_s = self._policies[name]
                self._windows[name] = _Window(quota - self._in_flight, now + length_s)


@lru_cache(maxsize=4096)
def shared_quota(account: str, address: str) -> Quota:
    """Return the one quota view of an account at an address.

    Args:
        account: Hash of the key, never the key.
        address: Base URL of the service, because each service counts for itself.
    """
    del account, address  # they are the cache's key
    return Quota()


def _members(header: str) -> dict[str, dict[str, float]]:
    """Return the members of a structured-field list with their numeric parameters; a broken header says nothing."""
    if not header:
        return {}
    try:
        listed = http_sf.parse(header.encode("latin-1"), tltype="list")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return {}
    found: dict[str, dict[str, float]] = {}
    for name, parameters in cast("list[tuple[Any, dict[str, Any]]]", listed):
        numbers = {key: value for key, value in parameters.items() if type(value) is int and value >= 0}
        found[str(name)] = {key: float(value) for key, value in numbers.items()}
    return found
