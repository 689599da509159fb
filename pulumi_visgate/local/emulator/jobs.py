"""The job queue of all endpoints: every change of a job's state happens here, in the database first.

IN_QUEUE -> IN_PROGRESS -> COMPLETED | FAILED | TIMED_OUT, and CANCELLED from the first two. A worker that dies puts its
job back, at most `max_attempts` times. Nothing overwrites a final state, in particular no late progress report.
"""

import json
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.settings import Settings
from pulumi_visgate.local.emulator.store import Doc, Store

DEFAULT_TTL_MS = 86_400_000


class JobState(StrEnum):
    """States of a job, as the job API names them."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a caller submits.

    Args:
        input: Any JSON value.
        webhook: Where the finished job is posted.
        execution_ms: Longest execution; 0 means no limit.
        ttl_ms: Longest time from submission to start.
        low_priority: Taken after everything else.
        sync: Submitted by `/runsync`.
    """

    input: Any
    webhook: str | None = None
    execution_ms: int = 0
    ttl_ms: int = DEFAULT_TTL_MS
    low_priority: bool = False
    sync: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """How much work an endpoint has.

    Args:
        running: Jobs in progress.
        queued: When each waiting job was queued, oldest first (seconds since the epoch).
    """

    running: int
    queued: tuple[float, ...]


def queue_bell(endpoint: str) -> str:
    """Name the bell that rings when an endpoint has a job to take."""
    return f"queue {endpoint}"


def job_bell(job: str) -> str:
    """Name the bell that rings when a job changes."""
    return f"job {job}"


class JobQueue:
    """Jobs of every endpoint.

    Args:
        store: Where they live.
        clock: The emulator's time.
        settings: Retention and attempts.
        bells: Rung at every change.
        on_change: Called with the endpoint id when its demand has changed.
        on_final: Called with the job id when a job has ended.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        bells: Bells,
        *,
        on_change: Callable[[str], None],
        on_final: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._bells = bells
        self._on_change = on_change
        self._on_final = on_final

    def submit(self, endpoint: str, account: str, job: NewJob) -> str:
        """Queue a job and return its id."""
        identifier = f"{'sync-' if job.sync else ''}{uuid.uuid4()}-u1"
        now = self._clock.now()
        self._store.execute(
            "INSERT INTO job (id, endpoint, account, status, sync, input, webhook, execution_ms, ttl_ms, priority,"
            " created, queued) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(identifier, endpoint, account, JobState.IN_QUEUE, job.sync, json.dumps(job.input), job.webhook),
            *(job.execution_ms, job.ttl_ms, int(job.low_priority), now, now),
        )
        self._queued(endpoint)
        return identifier

    def get(self, endpoint: str, job: str) -> sqlite3.Row | None:
        """Return a job's row, or None when it is unknown or its result is no longer kept."""
        row = self._store.row("SELECT * FROM job WHERE id = ? AND endpoint = ?", job, endpoint)
        return None if row is None or self._is_stale(row) else row

    def take(self, endpoint: str, worker: str) -> Doc | None:
        """Give the next job to a worker, in the form that the SDK expects, or None when there is none."""
        now = self._clock.now()
        row = self._store.row(
            "SELECT id, input, webhook FROM job WHERE endpoint = ? AND status = 'IN_QUEUE'"
            " AND queued + ttl_ms / 1000.0 > ? ORDER BY priority, seq LIMIT 1",
            *(endpoint, now),
        )
        if row is None:
            return None
        self._store.execute(
            "UPDATE job SET status = 'IN_PROGRESS', worker = ?, taken = ?, attempts = attempts + 1 WHERE id = ?",
            *(worker, now, row["id"]),
        )
        self._changed(endpoint, row["id"])
        return {"id": row["id"], "input": json.loads(row["input"]), "webhook": row["webhook"]}

    def progress(self, endpoint: str, job: str, worker: str, output: Any) -> bool:
        """Keep a progress report, unless the job is not this worker's any more; tell whether it was kept."""
        return self._update(endpoint, job, worker, "output = ?", json.dumps(output))

    def stream(self, endpoint: str, job: str, worker: str, item: Any) -> bool:
        """Keep one item of a streaming handler, with the same condition."""
        row = self._store.row(
            "SELECT 1 FROM job WHERE id = ? AND endpoint = ? AND worker = ? AND status = 'IN_PROGRESS'",
            *(job, endpoint, worker),
        )
        if row is None:
            return False
        self._store.execute(
            "INSERT INTO stream (job, n, item) SELECT ?, coalesce(max(n), 0) + 1, ? FROM stream WHERE job = ?",
            *(job, json.dumps(item), job),
        )
        self._bells.ring(job_bell(job))
        return True

    def finish(self, endpoint: str, job: str, worker: str, result: Doc) -> bool:
        """Keep a result: FAILED when it has an error, else COMPLETED; tell whether the job was still this worker's."""
        error = result.get("error")
        state = JobState.COMPLETED if error is None else JobState.FAILED
        text = error if error is None or isinstance(error, str) else json.dumps(error)
        output = json.dumps(result["output"]) if "output" in result else None
        kept = self._update(
            *(endpoint, job, worker, "status = ?, finished = ?, output = ?, error = ?"),
            *(state, self._clock.now(), output, text),
        )
        if kept:
            self._on_final(job)
        return kept

    def cancel(self, endpoint: str, job: str, state: JobState = JobState.CANCELLED, error: str | None = None) -> bool:
        """End a job that has not ended; tell whether it had not."""
        changed = self._store.execute(
            "UPDATE job SET status = ?, finished = ?, error = ? WHERE id = ? AND endpoint = ?"
            " AND status IN ('IN_QUEUE', 'IN_PROGRESS')",
            *(state, self._clock.now(), error, job, endpoint),
        )
        if changed:
            self._changed(endpoint, job)
            self._on_final(job)
        return bool(changed)

    def retry(self, endpoint: str, job: str) -> bool:
        """Queue a failed or timed-out job again; tell whether it was one."""
        changed = self._store.execute(
            "UPDATE job SET status = 'IN_QUEUE', queued = ?, taken = NULL, finished = NULL, worker = NULL,"
            " output = NULL, error = NULL, attempts = 0, retries = retries + 1 WHERE id = ? AND endpoint = ?"
            " AND status IN ('FAILED', 'TIMED_OUT')",
            *(self._clock.now(), job, endpoint),
        )
        if changed:
            self._store.execute("DELETE FROM stream WHERE job = ?", job)
            self._queued(endpoint)
        return bool(changed)

    def purge(self, endpoint: str) -> int:
        """Cancel every job that waits and return how many there were."""
        waiting = self._store.rows("SELECT id FROM job WHERE endpoint = ? AND status = 'IN_QUEUE'", endpoint)
        return sum(self.cancel(endpoint, row["id"]) for row in waiting)

    def abandon(self, endpoint: str, worker: str, reason: str) -> None:
        """Put the jobs of a worker that has died back into the queue, or fail them after too many attempts."""
        held = "SELECT id, attempts FROM job WHERE endpoint = ? AND worker = ? AND status = 'IN_PROGRESS'"
        for row in self._store.rows(held, endpoint, worker):
            if row["attempts"] >= self._settings.max_attempts:
                self.cancel(endpoint, row["id"], JobState.FAILED, reason)
            else:
                self._requeue(endpoint, row["id"])

    def recover(self) -> None:
        """Put every job that was in progress when the emulator ended back into the queue."""
        for row in self._store.rows("SELECT id, endpoint FROM job WHERE status = 'IN_PROGRESS'"):
            self._requeue(row["endpoint"], row["id"])

    def expire(self, endpoint: str) -> list[tuple[str, str]]:
        """End jobs that waited or ran too long, and forget old results.

        Returns:
            Job and worker of each job that has to be stopped.
        """
        now = self._clock.now()
        waiting = "SELECT id FROM job WHERE endpoint = ? AND status = 'IN_QUEUE' AND queued + ttl_ms / 1000.0 <= ?"
        for row in self._store.rows(waiting, endpoint, now):
            self.cancel(endpoint, row["id"], JobState.TIMED_OUT, "the job did not start within its ttl")
        running = (
            "SELECT id, worker, execution_ms FROM job WHERE endpoint = ? AND status = 'IN_PROGRESS'"
            " AND execution_ms > 0 AND taken + execution_ms / 1000.0 <= ?"
        )
        stopped = []
        for row in self._store.rows(running, endpoint, now):
            error = f"the job ran longer than its executionTimeout of {row['execution_ms']} ms"
            self.cancel(endpoint, row["id"], JobState.TIMED_OUT, error)
            stopped.append((row["id"], row["worker"]))
        self._forget(endpoint, now)
        return stopped

    def next_expiry(self, endpoint: str) -> float | None:
        """Return when `expire` has something to do next, in seconds since the epoch."""
        row = self._store.row(
            "SELECT min(CASE status WHEN 'IN_QUEUE' THEN queued + ttl_ms / 1000.0"
            " ELSE CASE WHEN execution_ms > 0 THEN taken + execution_ms / 1000.0 END END) AS next"
            " FROM job WHERE endpoint = ? AND status IN ('IN_QUEUE', 'IN_PROGRESS')",
            endpoint,
        )
        return row["next"] if row is not None else None

    def demand(self, endpoint: str) -> Demand:
        """Return how much work an endpoint has."""
        rows = self._store.rows(
            "SELECT status, queued FROM job WHERE endpoint = ? AND status IN ('IN_QUEUE', 'IN_PROGRESS')"
            " ORDER BY queued",
            endpoint,
        )
        queued = tuple(row["queued"] for row in rows if row["status"] == JobState.IN_QUEUE)
        return Demand(running=len(rows) - len(queued), queued=queued)

    def counts(self, endpoint: str) -> dict[str, int]:
        """Return the numbers of jobs that `/health` shows."""
        rows = self._store.rows(
            "SELECT status, count(*) AS n, sum(retries) AS retried FROM job WHERE endpoint = ? GROUP BY status",
            endpoint,
        )
        by_state = {row["status"]: row["n"] for row in rows}
        return {
            "completed": by_state.get(JobState.COMPLETED, 0),
            "failed": by_state.get(JobState.FAILED, 0) + by_state.get(JobState.TIMED_OUT, 0),
            "inProgress": by_state.get(JobState.IN_PROGRESS, 0),
            "inQueue": by_state.get(JobState.IN_QUEUE, 0),
            "retried": sum(row["retried"] or 0 for row in rows),
        }

    def remove_endpoint(self, endpoint: str) -> None:
        """Cancel what has not ended and forget every job of an endpoint."""
        open_jobs = "SELECT id FROM job WHERE endpoint = ? AND status IN ('IN_QUEUE', 'IN_PROGRESS')"
        for row in self._store.rows(open_jobs, endpoint):
            self.cancel(endpoint, row["id"])
        self._store.execute("DELETE FROM stream WHERE job IN (SELECT id FROM job WHERE endpoint = ?)", endpoint)
        self._store.execute("DELETE FROM job WHERE endpoint = ?", endpoint)

    def unread(self, job: str) -> list[Any]:
        """Return the stream items that no caller has read, and mark them read."""
        rows = self._store.rows("SELECT n, item FROM stream WHERE job = ? AND read = 0 ORDER BY n", job)
        if rows:
            self._store.execute("UPDATE stream SET read = 1 WHERE job = ? AND n <= ?", job, rows[-1]["n"])
        return [json.loads(row["item"]) for row in rows]

    def _update(self, endpoint: str, job: str, worker: str, assignments: str, *values: object) -> bool:
        changed = self._store.execute(
            f"UPDATE job SET {assignments} WHERE id = ? AND endpoint = ? AND worker = ?"  # noqa: S608, own text
            " AND status = 'IN_PROGRESS'",
            *(*values, job, endpoint, worker),
        )
        if changed:
            self._changed(endpoint, job)
        return bool(changed)

    def _requeue(self, endpoint: str, job: str) -> None:
        self._store.execute(
            "UPDATE job SET status = 'IN_QUEUE', worker = NULL, taken = NULL, output = NULL, retries = retries + 1"
            " WHERE id = ?",
            job,
        )
        self._store.execute("DELETE FROM stream WHERE job = ?", job)
        self._changed(endpoint, job)
        self._bells.ring(queue_bell(endpoint))

    def _is_stale(self, row: sqlite3.Row) -> bool:
        if row["finished"] is None:
            return False
        kept_s = self._settings.sync_result_s if row["sync"] else self._settings.result_s
        return bool(row["finished"] + kept_s <= self._clock.now())

    def _forget(self, endpoint: str, now: float) -> None:
        old = (
            "FROM job WHERE endpoint = ? AND finished IS NOT NULL"
            " AND finished + CASE sync WHEN 1 THEN ? ELSE ? END <= ?"
        )
        values = (endpoint, self._settings.sync_result_s, self._settings.result_s, now)
        self._store.execute(f"DELETE FROM stream WHERE job IN (SELECT id {old})", *values)  # noqa: S608, own text
        self._store.execute(f"DELETE {old}", *values)

    def _queued(self, endpoint: str) -> None:
        self._bells.ring(queue_bell(endpoint))
        self._on_change(endpoint)

    def _changed(self, endpoint: str, job: str) -> None:
        self._bells.ring(job_bell(job))
        self._on_change(endpoint)


def public(row: sqlite3.Row) -> Doc:
    """Return a job as `/status` answers it; times are in milliseconds."""
    answer: Doc = {"id": row["id"], "status": row["status"]}
    if row["taken"] is not None:
        answer["delayTime"] = round((row["taken"] - row["queued"]) * 1000)
        if row["finished"] is not None:
            answer["executionTime"] = round((row["finished"] - row["taken"]) * 1000)
        answer["workerId"] = row["worker"]
    for name in ("output", "error"):
        if row[name] is not None:
            answer[name] = json.loads(row[name]) if name == "output" else row[name]
    if row["retries"]:
        answer["retries"] = row["retries"]
    return answer


def webhook_body(row: sqlite3.Row) -> Doc:
    """Return a job as its webhook receives it: the public form with input and webhook."""
    return {**public(row), "input": json.loads(row["input"]), "webhook": row["webhook"]}
