"""Metering: what runs or is stored costs money by the second, so that a leak shows as an amount."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.store import Store


class Component(StrEnum):
    """What an amount is for, as the billing answers name it."""

    GPU = "serverlessGpuAmount"
    CPU = "serverlessCpuAmount"
    STANDARD = "storageStandardAmount"
    HIGH_PERFORMANCE = "storageHighPerformanceAmount"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time at one price.

    Args:
        resource: Endpoint or volume.
        component: What it is for.
        per_second: US dollars.
        started: Seconds since the epoch.
        ended: Seconds since the epoch, now for what still runs.
    """

    resource: str
    component: Component
    per_second: float
    started: float
    ended: float

    def amount(self, start: float, end: float) -> float:
        """Return the US dollars that fall between two times."""
        return max(0.0, min(end, self.ended) - max(start, self.started)) * self.per_second


class Usage:
    """The meter of all accounts.

    Args:
        store: Where readings live.
        clock: The emulator's time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def start(
        self, account: str, resource: str, component: Component, per_second: float, *, worker: str | None = None
    ) -> None:
        """Start a span.

        Args:
            account: Who pays.
            resource: Endpoint or volume.
            component: What for.
            per_second: Price in US dollars.
            worker: The worker it meters, for which `stop_worker` ends it.
        """
        now = self._clock.now()
        self._store.execute(
            "INSERT INTO usage (account, resource, component, per_second, started, seen, worker)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(account, resource, component, per_second, now, now, worker),
        )

    def stop_worker(self, worker: str) -> None:
        """End the spans of a worker."""
        self._store.execute("UPDATE usage SET ended = ? WHERE worker = ? AND ended IS NULL", self._clock.now(), worker)

    def stop(self, resource: str) -> None:
        """End the spans of a volume or endpoint."""
        self._store.execute(
            "UPDATE usage SET ended = ? WHERE resource = ? AND ended IS NULL", self._clock.now(), resource
        )

    def beat(self) -> None:
        """Note that what is metered was alive just now, so that a bill never grows while the emulator is off."""
        self._store.execute("UPDATE usage SET seen = ? WHERE ended IS NULL", self._clock.now())

    def recover(self) -> None:
        """Close what ran when the emulator ended: workers at their last beat; stored volumes go on from now."""
        now = self._clock.now()
        with self._store.transaction():
            lost = self._store.rows("SELECT * FROM usage WHERE ended IS NULL")
            self._store.execute("UPDATE usage SET ended = seen WHERE ended IS NULL")
            for row in lost:
                if row["worker"] is None:
                    self._store.execute(
                        "INSERT INTO usage (account, resource, component, per_second, started, seen)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        *(row["account"], row["resource"], row["component"], row["per_second"], now, now),
                    )

    def spans(self, account: str, start: float, end: float) -> Iterator[Span]:
        """Return the spans of an account that touch a window of time."""
        now = self._clock.now()
        rows = self._store.rows(
            "SELECT * FROM usage WHERE account = ? AND started < ? AND coalesce(ended, ?) > ? ORDER BY started",
            *(account, end, now, start),
        )
        for row in rows:
            ended = row["ended"] if row["ended"] is not None else now
            yield Span(row["resource"], Component(row["component"]), row["per_second"], row["started"], ended)

    def forget(self, account: str) -> None:
        """Delete the readings of an account."""
        self._store.execute("DELETE FROM usage WHERE account = ?", account)
