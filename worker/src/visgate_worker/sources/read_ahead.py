"""Weights into the page cache while the frameworks are still being imported, so that loading finds them in memory.

Reading a file releases the interpreter's lock, and several readers get more out of a network volume than one, or than
the page faults of a mapped file.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

READERS = min(16, 4 * (os.cpu_count() or 1))
CHUNK_BYTES = 8 * 1024 * 1024
_CGROUP = Path("/sys/fs/cgroup")


class ReadAhead:
    """Begins to read a model's weights in the background; does nothing where memory is too small to keep them.

    Args:
        files: What will be loaded, in this order.
        on_bytes: Told how many bytes have been read, and of how many.
        memory_bytes: Memory that can be used; the machine's when left out.
    """

    def __init__(
        self,
        files: list[Path],
        *,
        on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
        memory_bytes: int | None = None,
    ) -> None:
        sizes = {path: path.stat().st_size for path in files}
        self.size_bytes = sum(sizes.values())
        self._chunks = ((path, at) for path, size in sizes.items() for at in range(0, size, CHUNK_BYTES))
        self._lock = threading.Lock()
        self._on_bytes = on_bytes
        self._done = 0
        self._readers: list[threading.Thread] = []
        available = available_bytes() if memory_bytes is None else memory_bytes
        if self.size_bytes <= available * 3 // 4:
            self._readers = [
                threading.Thread(target=self._read, name="read-ahead", daemon=True) for _ in range(READERS)
            ]
        for reader in self._readers:
            reader.start()

    @property
    def is_reading(self) -> bool:
        """Readers were started and have not come to the end."""
        return any(reader.is_alive() for reader in self._readers)

    @property
    def has_begun(self) -> bool:
        """Memory suffices, so the files are read."""
        return bool(self._readers)

    def wait(self) -> None:
        """Wait until everything has been read; pages that are on their way are not asked for twice."""
        for reader in self._readers:
            reader.join()

    def _next(self, count: int) -> tuple[Path, int] | None:
        with self._lock:
            self._done += count
            self._on_bytes(self._done, self.size_bytes)
            return next(self._chunks, None)

    def _read(self) -> None:
        buffer = bytearray(CHUNK_BYTES)
        count = 0
        while (chunk := self._next(count)) is not None:
            path, offset = chunk
            try:
                with path.open("rb", buffering=0) as file:
                    file.seek(offset)
                    count = file.readinto(buffer) or 0
            except OSError as error:
                # Loading meets the same error and reports it.
                log.debug("reading ahead stopped: %s", error)
                return


def available_bytes() -> int:
    """Return how much memory can be used without swapping: of the machine, and of the container that this runs in."""
    found = _numbers(Path("/proc/meminfo"))
    available = found.get("MemAvailable", found.get("MemFree", 0)) * 1024
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit():
            used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
            reclaimable = _numbers(_CGROUP / "memory.stat").get("file", 0)
            available = min(available, int(limit) - used + reclaimable)
    except (OSError, ValueError):
        pass  # no limit that can be read
    return available


def _numbers(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {
        words[0].rstrip(":"): int(words[1]) for words in map(str.split, lines) if len(words) > 1 and words[1].isdigit()
    }
