"""Reading the logs of the local cloud."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import sleep

_BLOCK_BYTES = 64 * 1024
_POLL_S = 0.3


def tail(file: Path, *, lines: int = 20, since: int = 0) -> list[str]:
    """Return the last lines of a log file; nothing if there is none.

    Args:
        file: The log.
        lines: How many.
        since: Leave out what was there at this size, in bytes.
    """
    try:
        with file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(since if since <= size else 0, size - _BLOCK_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines else []


def size_of(file: Path) -> int:
    """Return the size of a log file in bytes; 0 if there is none."""
    return file.stat().st_size if file.exists() else 0


def follow(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield the lines written from now on, with the name of their log, until the caller stops.

    Args:
        files: Log file by name; one that does not exist yet is waited for.
    """
    return _follow(files, {name: size_of(file) for name, file in files.items()})


def _follow(files: dict[str, Path], offsets: dict[str, int]) -> Iterator[tuple[str, str]]:
    while True:
        quiet = True
        for name, file in files.items():
            for line in _new_lines(name, file, offsets):
                quiet = False
                yield name, line
        if quiet:
            sleep(_POLL_S)


def _new_lines(name: str, file: Path, offsets: dict[str, int]) -> Iterator[str]:
    if not file.exists():
        return
    with file.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        if size < offsets[name]:  # replaced by a new one
            offsets[name] = 0
        log.seek(offsets[name])
        block = log.read()
    whole, separator, _ = block.rpartition(b"\n")
    offsets[name] += len(whole) + len(separator)
    if separator:
        yield from whole.decode(errors="replace").split("\n")
