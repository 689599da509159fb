"""The database: one SQLite file that survives `kill -9`, and the account's resources in it.

One connection, used from the event loop's thread only. Write-ahead logging makes every statement durable against the
death of the process.
"""

import json
import os
import secrets
import sqlite3
import string
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

Doc: TypeAlias = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resource (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, account TEXT NOT NULL, created REAL NOT NULL, doc TEXT NOT NULL,
    meta TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS resource_of ON resource (account, kind);
CREATE TABLE IF NOT EXISTS release (
    endpoint TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL, created REAL NOT NULL, diff TEXT NOT NULL,
    PRIMARY KEY (endpoint, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, endpoint TEXT NOT NULL, account TEXT NOT NULL,
    status TEXT NOT NULL, sync INTEGER NOT NULL, input TEXT NOT NULL, webhook TEXT, execution_ms INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL, priority INTEGER NOT NULL, created REAL NOT NULL, queued REAL NOT NULL, taken REAL,
    finished REAL, worker TEXT, output TEXT, error TEXT, attempts INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS job_of ON job (endpoint, status, priority, seq);
CREATE INDEX IF NOT EXISTS job_finished ON job (finished) WHERE finished IS NOT NULL;
CREATE TABLE IF NOT EXISTS stream (
    job TEXT NOT NULL, n INTEGER NOT NULL, item TEXT NOT NULL, read INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worker (
    id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, account TEXT NOT NULL, pid INTEGER, pid_started REAL,
    created REAL NOT NULL, ended REAL);
CREATE INDEX IF NOT EXISTS worker_of ON worker (endpoint);
CREATE TABLE IF NOT EXISTS log (
    n INTEGER PRIMARY KEY AUTOINCREMENT, worker TEXT NOT NULL, ts REAL NOT NULL, source TEXT NOT NULL,
    line TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS log_of ON log (worker, n);
CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, resource TEXT NOT NULL, component TEXT NOT NULL,
    per_second REAL NOT NULL, started REAL NOT NULL, ended REAL, seen REAL NOT NULL, worker TEXT);
CREATE INDEX IF NOT EXISTS usage_of ON usage (account);
"""

_REMOVED_KEPT = 1_000
_ALPHABET = string.ascii_lowercase + string.digits


class Kind(StrEnum):
    """Kinds of resources an account owns."""

    ENDPOINT = "endpoint"
    TEMPLATE = "template"
    VOLUME = "network volume"
    REGISTRY = "registry"
    DELEGATION = "delegation"


_ID_LENGTH = {Kind.ENDPOINT: 14, Kind.REGISTRY: 25}


@dataclass(slots=True)
class Record:
    """A stored resource.

    Args:
        id: Its identifier.
        kind: What it is.
        account: Who owns it.
        created: When, in seconds since the epoch.
        doc: What the API answers.
        meta: What only the emulator knows.
    """

    id: str
    kind: Kind
    account: str
    created: float
    doc: Doc
    meta: Doc = field(default_factory=dict)


def new_id(length: int = 10) -> str:
    """Return a random identifier of lower-case letters and digits that starts with a letter."""
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(_ALPHABET) for _ in range(length - 1))


class Store:
    """Tables of the emulator.

    Args:
        path: The database file; made when missing, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)
        self._removed: deque[tuple[float, Record]] = deque(maxlen=_REMOVED_KEPT)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement and return how many rows it changed."""
        return self._db.execute(sql, values).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows in one transaction."""
        with self.transaction():
            self._db.executemany(sql, rows)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the statements inside happen together or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def remember(self, key: str, value: object) -> None:
        """Keep a small value across restarts."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, json.dumps(value))

    def recall(self, key: str, default: Any) -> Any:
        """Return a kept value, or the default."""
        row = self.row("SELECT value FROM meta WHERE key = ?", key)
        return default if row is None else json.loads(row["value"])

    def add(self, kind: Kind, account: str, created: float, doc: Doc, meta: Doc | None = None) -> Record:
        """Store a new resource under a new id, which is put first into its document."""
        identifier = new_id(_ID_LENGTH.get(kind, 10))
        record = Record(identifier, kind, account, created, {"id": identifier, **doc}, meta or {})
        self.execute(
            "INSERT INTO resource VALUES (?, ?, ?, ?, ?, ?)",
            *(record.id, kind, account, created, json.dumps(record.doc), json.dumps(record.meta)),
        )
        return record

    def save(self, record: Record) -> None:
        """Write a changed resource back."""
        self.execute(
            "UPDATE resource SET doc = ?, meta = ? WHERE id = ?",
            *(json.dumps(record.doc), json.dumps(record.meta), record.id),
        )

    def get(self, kind: Kind, identifier: str, account: str | None = None) -> Record | None:
        """Return a resource, or None when it does not exist or is another account's."""
        row = self.row("SELECT * FROM resource WHERE id = ? AND kind = ?", identifier, kind)
        if row is None or (account is not None and row["account"] != account):
            return None
        return _record(row)

    def list(self, kind: Kind, account: str | None = None, *, before: float | None = None) -> list[Record]:
        """Return resources, oldest first.

        Args:
            kind: What to list.
            account: Whose; None lists everybody's.
            before: Leave out what was created after this time.
        """
        rows = self.rows(
            "SELECT * FROM resource WHERE kind = ? AND account = coalesce(?, account) AND created <= ?"
            " ORDER BY created, rowid",
            *(kind, account, before if before is not None else float("inf")),
        )
        return [_record(row) for row in rows]

    def remove(self, record: Record) -> None:
        """Delete a resource."""
        if self.execute("DELETE FROM resource WHERE id = ?", record.id):
            self._removed.append((monotonic(), record))

    def removed(self, kind: Kind, account: str, *, before: float, within_s: float) -> Sequence[Record]:
        """Return what this process has removed in the last seconds, oldest first.

        Args:
            kind: What to list.
            account: Whose.
            before: Leave out what was created after this time.
            within_s: How long ago it may have been.
        """
        since = monotonic() - within_s
        found = (record for removed_at, record in self._removed if removed_at > since and record.created <= before)
        return [record for record in found if (record.kind, record.account) == (kind, account)]


def _record(row: sqlite3.Row) -> Record:
    return Record(
        row["id"], Kind(row["kind"]), row["account"], row["created"], json.loads(row["doc"]), json.loads(row["meta"])
    )
