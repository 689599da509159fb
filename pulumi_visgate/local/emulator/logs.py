"""Log lines of workers: kept in the database, bounded, and followed live."""

from collections.abc import Sequence
from dataclasses import dataclass

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.clock import Clock, parse_rfc3339, rfc3339
from pulumi_visgate.local.emulator.store import Store

CONTAINER = "container"
SYSTEM = "system"
_PRUNE_EVERY = 500
_LINES = "SELECT n, ts, source, line FROM log WHERE worker = ? AND n > ? AND ts >= ? AND source = coalesce(?, source)"
_OLDEST = _LINES + " ORDER BY n LIMIT ?"
_NEWEST = _LINES + " ORDER BY n DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line.

    Args:
        n: Its place in the order of all lines.
        ts: When it was written, in seconds since the epoch.
        source: `container` or `system`.
        line: The text.
    """

    n: int
    ts: float
    source: str
    line: str

    @property
    def event_id(self) -> str:
        """The cursor a client resumes with: time and place."""
        return f"{rfc3339(self.ts)}/{self.n:012d}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader starts.

    Args:
        after_n: Only lines after this place.
        from_ts: Only lines at or after this time, in seconds since the epoch.
        tail: Only that many of the newest; None takes all.
    """

    after_n: int = 0
    from_ts: float = 0.0
    tail: int | None = None

    @classmethod
    def resume(cls, event_id: str) -> "Cursor":
        """Return the cursor after an event id, or from a bare time.

        Raises:
            ValueError: It is neither.
        """
        moment, slash, place = event_id.partition("/")
        from_ts = parse_rfc3339(moment)
        return cls(after_n=int(place)) if slash else cls(from_ts=from_ts)


def log_bell(worker: str) -> str:
    """Name the bell that rings when a worker has written."""
    return f"log {worker}"


class Logs:
    """Lines of all workers.

    Args:
        store: Where they live.
        clock: The emulator's time.
        bells: Rung at every new line.
        keep: Lines kept of each worker.
    """

    def __init__(self, store: Store, clock: Clock, bells: Bells, *, keep: int) -> None:
        self._store = store
        self._clock = clock
        self._bells = bells
        self._keep = keep
        self._since_prune: dict[str, int] = {}

    def write(self, worker: str, source: str, lines: Sequence[str]) -> None:
        """Append lines of one source."""
        if not lines:
            return
        now = round(self._clock.now(), 6)  # as precise as its text, so that a cursor made from the text finds it
        self._store.many(
            "INSERT INTO log (worker, ts, source, line) VALUES (?, ?, ?, ?)",
            [(worker, now, source, line) for line in lines],
        )
        written = self._since_prune.get(worker, 0) + len(lines)
        if written >= _PRUNE_EVERY:
            written = 0
            self._prune(worker)
        self._since_prune[worker] = written
        self._bells.ring(log_bell(worker))

    def read(self, worker: str, cursor: Cursor, source: str | None = None, *, limit: int = 1000) -> list[LogLine]:
        """Return lines after a cursor, oldest first.

        Args:
            worker: Whose.
            cursor: Where to start.
            source: Only this source; None takes both.
            limit: Most lines of one call.
        """
        newest = cursor.tail is not None
        query = _NEWEST if newest else _OLDEST
        most = cursor.tail if newest else limit
        rows = self._store.rows(query, worker, cursor.after_n, cursor.from_ts, source, most)
        lines = [LogLine(**row) for row in rows]
        return lines[::-1] if newest else lines

    def newest(self, worker: str) -> int:
        """Return the place of a worker's newest line, 0 when it has none."""
        row = self._store.row("SELECT max(n) AS n FROM log WHERE worker = ?", worker)
        return (row["n"] if row is not None else None) or 0

    def forget(self, worker: str) -> None:
        """Delete a worker's lines."""
        self._store.execute("DELETE FROM log WHERE worker = ?", worker)
        self._since_prune.pop(worker, None)

    def _prune(self, worker: str) -> None:
        self._store.execute(
            "DELETE FROM log WHERE worker = ? AND n <="
            " (SELECT n FROM log WHERE worker = ? ORDER BY n DESC LIMIT 1 OFFSET ?)",
            *(worker, worker, self._keep),
        )
