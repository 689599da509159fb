"""Where the files of a model come from, and their parts, read ahead in order; no Pulumi."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Protocol

from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources.errors import StoreError

_MIB = 1 << 20
PART_BYTES = 16 * _MIB
MOST_PARTS = 9000  # S3 takes 10,000
PARTS_AHEAD = 6
PARTS_IN_MEMORY = 16
slots = BoundedSemaphore(PARTS_IN_MEMORY)
"""One for each part in memory, of all transfers of this process together."""


class Source(Protocol):
    """Where the files of a model come from."""

    name: str
    files: list[SourceFile]

    def read(self, file: SourceFile, start: int, length: int) -> bytes:
        """Return a range of a file."""

    def close(self) -> None:
        """Let go of connections."""


class FolderSource:
    """Files of a folder of this machine.

    Args:
        folder: The folder.
        files: What was seen in it.
    """

    def __init__(self, folder: Path, files: Iterable[SourceFile]) -> None:
        self.name = str(folder)
        self.files = list(files)
        self._folder = folder

    def read(self, file: SourceFile, start: int, length: int) -> bytes:
        """Return a range of a file.

        Raises:
            StoreError: The file is not what it was.
        """
        try:
            with (self._folder / file.path).open("rb", buffering=0) as opened:
                opened.seek(start)
                data = opened.read(length)
        except OSError as error:
            detail = f"source: {file.path} cannot be read: {type(error).__name__}."
            raise StoreError(detail) from None
        if data is None or len(data) != length:
            detail = f"source: {file.path} has changed since the preview."
            raise StoreError(detail, hint="Run `pulumi up` again when nothing writes to it.")
        return data

    def close(self) -> None:
        """Do nothing: every file is closed after each part."""


class Parts:
    """Reads the parts of a file ahead, in order; a bounded number of them is in memory.

    Args:
        pool: Reads.
        source: Where the file comes from.
        file: The file.
    """

    def __init__(self, pool: ThreadPoolExecutor, source: Source, file: SourceFile) -> None:
        self._pool = pool
        self._source = source
        self._file = file
        self._ranges = enumerate(part_ranges(file.size), 1)
        self._ahead: deque[tuple[int, Future[bytes]]] = deque()
        self._held: set[int] = set()
        self._lock = Lock()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self._fill()
        while self._ahead:
            number, reading = self._ahead[0]
            data = reading.result()
            self._ahead.popleft()
            yield number, data
            self._fill()

    def done(self, number: int, _sent: object = None) -> None:
        """Take note that a part is in memory no more."""
        with self._lock:
            if number not in self._held:
                return
            self._held.remove(number)
        slots.release()

    def close(self) -> None:
        """Give up what was read ahead; nothing is being sent any more."""
        for _, reading in self._ahead:
            reading.cancel()
        wait([reading for _, reading in self._ahead])
        self._ahead.clear()
        for number in list(self._held):
            self.done(number)

    def _fill(self) -> None:
        while len(self._ahead) < PARTS_AHEAD:
            # Whoever holds parts must not wait for more of them, or all would wait for one another.
            if not slots.acquire(blocking=not self._ahead):
                return
            following = next(self._ranges, None)
            if following is None:
                slots.release()
                return
            number, (start, length) = following
            with self._lock:
                self._held.add(number)
            self._ahead.append((number, self._pool.submit(self._source.read, self._file, start, length)))


def part_ranges(size: int) -> Iterator[tuple[int, int]]:
    """Return start and length of the parts of a file; the same at every run, so that parts can be found again."""
    length = PART_BYTES
    if size > length * MOST_PARTS:
        length = -(-size // (MOST_PARTS * _MIB)) * _MIB
    for start in range(0, size, length):
        yield start, min(length, size - start)


def is_one_part(size: int) -> bool:
    """Tell whether a file is sent at once."""
    return size <= PART_BYTES
