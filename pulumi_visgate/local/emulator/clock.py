"""The emulator's clock: wall time plus what tests have moved it forward by."""

import re
import time
from datetime import UTC, datetime

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class Clock:
    """Seconds since the epoch, movable forward so that hours of idling take no time.

    Args:
        offset_s: Seconds it is already ahead of the wall clock.
    """

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time() + self.offset_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.offset_s += seconds


def rfc3339(seconds: float) -> str:
    """Return a time in seconds since the epoch as RFC 3339 in UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> float:
    """Return the seconds since the epoch of an RFC 3339 time.

    Raises:
        ValueError: It is not one, or has no offset.
    """
    if not RFC3339.fullmatch(text):
        message = "not a time such as 2026-01-31T12:00:00Z; the offset is required"
        raise ValueError(message)
    return datetime.fromisoformat(text.upper()).timestamp()
