"""Log lines: one JSON object each, and the masking that everything the worker prints goes through."""

import contextlib
import json
import logging
import os
import re
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from visgate_contract.redaction import MIN_SECRET_LENGTH, Redactor

MAX_LINE_BYTES = 64 * 1024
TAIL_LINES = 20
TAIL_CHARACTERS = 500
TAIL_FRAMES = 4
_OVERLAP = 16 * 1024  # longer than any secret in any encoding

_SECRET_NAME = re.compile(r"(?i)(^|_)(key|token|secret|password|passwd|pass|credentials?|auth|dsn)(_|$)|apikey")
_NOT_SECRET = frozenset({"SSH_AUTH_SOCK"})  # a path
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029]")


def secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield every value of the environment that its variable's name marks as secret, and each line of a longer one."""
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and name not in _NOT_SECRET:
            yield value
            if "\n" in value:
                yield from (line for line in value.splitlines() if len(line.strip()) >= MIN_SECRET_LENGTH)


class Masker:
    """Turns raw output into lines that are safe to keep.

    Args:
        environ: The environment whose secrets are masked.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._redactor = Redactor(secrets_of(environ))

    def text(self, value: str) -> str:
        """Mask secrets; leaves line ends alone."""
        return self._redactor.text(value)

    def line(self, raw: bytes) -> str:
        """Return one line: decoded, masked, control characters written as escapes."""
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        return _CONTROL.sub(_escape, self._redactor.line(text))

    def __repr__(self) -> str:
        return "Masker(...)"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class JsonLines(logging.Formatter):
    """One JSON object a record, with the field names of the Runpod SDK's own log lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback goes into a field, so that a record never spans lines."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Tail:
    """The last lines of a log, bounded; from any thread."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        """Keep a line, which is masked already."""
        self._lines.append(line[:TAIL_CHARACTERS])

    def lines(self) -> tuple[str, ...]:
        """Return them, oldest first."""
        return tuple(self._lines.copy())


class TailHandler(logging.Handler):
    """Keeps the last records, masked.

    Args:
        tail: Where.
        mask: Removes secrets from text.
    """

    def __init__(self, tail: Tail, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._tail = tail
        self._mask = mask

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._tail.add(self._mask(f"{record.levelname} {record.name}: {record.getMessage()}"))
        if record.exc_info and record.exc_info[1] is not None:
            for line in traceback.format_exception(record.exc_info[1])[-TAIL_FRAMES:]:
                self._tail.add(self._mask(line.rstrip()))


class LineWriter:
    """Writes whole lines to a stream, from any thread.

    Args:
        stream: Where to; its own encoding is not used.
        tail: Keeps the last ones.
    """

    def __init__(self, stream: BinaryIO, tail: Tail | None = None) -> None:
        self._stream = stream
        self._tail = tail
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Write one line and flush; a reader that is gone is no reason to stop."""
        if self._tail is not None:
            self._tail.add(line)
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._stream.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._stream.flush()


class MaskedHandler(logging.Handler):
    """Logs masked JSON lines.

    Args:
        masker: Masks them.
        writer: Writes them.
    """

    def __init__(self, masker: Masker, writer: LineWriter) -> None:
        super().__init__()
        self._masker = masker
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._writer.write(self._masker.line(self.format(record).encode()))


def forward(source: BinaryIO, masker: Masker, writer: LineWriter) -> None:
    """Write every line of a stream, masked, until the stream ends.

    Args:
        source: What a process prints; a carriage return ends a line as well.
        masker: Masks each line as a whole.
        writer: Writes them; of a line over the limit the beginning is written.
    """
    pending = b""
    is_cut = False
    while chunk := os.read(source.fileno(), MAX_LINE_BYTES):
        *lines, pending = re.split(rb"\r?\n|\r", pending + chunk)
        for line in lines:
            if not is_cut and line:
                writer.write(masker.line(line))
            is_cut = False
        if len(pending) > MAX_LINE_BYTES:
            if not is_cut:
                # A secret may reach over the end of what has arrived, so the end is left out after masking.
                writer.write(masker.line(pending)[:-_OVERLAP] + " [line cut]")
            pending, is_cut = b"", True
    if pending and not is_cut:
        writer.write(masker.line(pending))


def log_to(handler: logging.Handler) -> None:
    """Send all logging of this process, other libraries' too, to one handler as JSON lines."""
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("visgate_worker").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
