"""What passes through: counters for each operation, and an artificial delay."""

import asyncio
from collections import Counter


class Traffic:
    """Counters and latency of the control and job planes.

    Args:
        latency_ms: Delay before every answer.
    """

    def __init__(self, latency_ms: float) -> None:
        self.latency_ms = latency_ms
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, account: str, operation: str) -> None:
        """Count a request."""
        self._counts[account, operation] += 1

    def counts(self, account: str | None = None) -> dict[str, int]:
        """Return requests by operation, of one account or of all."""
        totals: Counter[str] = Counter()
        for (owner, operation), number in self._counts.items():
            if account in {None, owner}:
                totals[operation] += number
        return dict(sorted(totals.items()))

    def reset(self, account: str | None = None) -> None:
        """Start to count again, for one account or for all."""
        self._counts = Counter(
            {key: number for key, number in self._counts.items() if account is not None and key[0] != account}
        )

    async def delay(self) -> None:
        """Wait as long as a real answer would take."""
        if self.latency_ms > 0:
            await asyncio.sleep(self.latency_ms / 1000)
