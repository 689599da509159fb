"""Request quotas of the control plane and the headers that report them (IETF ratelimit-headers draft)."""

import math
from dataclasses import dataclass, field
from http import HTTPStatus

from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.errors import Problem

MINUTE_S = 60
HOUR_S = 3600


@dataclass(slots=True)
class _Window:
    name: str
    length_s: int
    quota: int
    started: float = 0.0
    used: int = 0

    def roll(self, now: float) -> None:
        if not self.started <= now < self.started + self.length_s:
            self.started = now
            self.used = 0

    def reset_s(self, now: float) -> int:
        return max(1, math.ceil(self.started + self.length_s - now))


@dataclass(slots=True)
class Quota:
    """Requests per minute and hour of each account.

    Args:
        clock: The emulator's time.
        per_minute: Requests in a minute.
        per_hour: Requests in an hour.
    """

    clock: Clock
    per_minute: int
    per_hour: int
    _windows: dict[str, tuple[_Window, _Window]] = field(default_factory=dict)

    def spend(self, account: str) -> dict[str, str]:
        """Count one request and return the headers that report what is left.

        Raises:
            Problem: 429 when a window is used up; a refused request is not counted.
        """
        now = self.clock.now()
        windows = self._windows.setdefault(
            account, (_Window("minute", MINUTE_S, self.per_minute), _Window("hour", HOUR_S, self.per_hour))
        )
        for window in windows:
            window.roll(now)
        spent = next((window for window in windows if window.used >= window.quota), None)
        if spent is None:
            for window in windows:
                window.used += 1
        left = ", ".join(f'"{w.name}";r={w.quota - w.used};t={w.reset_s(now)}' for w in windows)
        policy = ", ".join(f'"{w.name}";q={w.quota};w={w.length_s}' for w in windows)
        headers = {"RateLimit": left, "RateLimit-Policy": policy}
        if spent is not None:
            detail = f"rate limit exceeded for the {spent.name} window"
            headers["Retry-After"] = str(spent.reset_s(now))
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers)
        return headers

    def change(self, *, per_minute: int, per_hour: int) -> None:
        """Set new quotas and forget what was spent."""
        self.per_minute = per_minute
        self.per_hour = per_hour
        self._windows.clear()
