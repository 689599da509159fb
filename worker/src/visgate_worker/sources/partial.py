"""A file that comes in parts, in any order, from many threads; what was killed in between goes on where it stopped.

It lies under a digest of its content and name until it is whole and its content was seen to be right, and only then
gets its name, in one step. So nobody meets half a file, and two workers that bring the same one write the same bytes to
the same places.
"""

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

from visgate_contract.caches import ManifestFile

FOLDER = ".visgate-partial"
PART_BYTES = 32 * 1024 * 1024
ABANDONED_AFTER_S = 6 * 3600.0
_CHUNK = 4 * 1024 * 1024


class Partial:
    """One file on its way.

    Args:
        target: Where it goes.
        file: What it has to be.
        root: Folder for unfinished files, on the same file system as the target.
    """

    def __init__(self, target: Path, file: ManifestFile, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._file = file
        name = hashlib.sha256(f"{file.sha256} {target}".encode()).hexdigest()
        self._path = root / f"{name}.part"
        # The parts that are there, one number a line, written after the part itself.
        self._journal = root / f"{name}.done"
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        self._here = self._had() if os.fstat(self._handle).st_size == file.size else set[int]()
        os.truncate(self._handle, file.size)
        self._notes = self._journal.open("a", encoding="ascii")
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._digest = hashlib.sha256()
        self._hashed = 0

    @property
    def count(self) -> int:
        """Parts of the file."""
        return -(-self._file.size // PART_BYTES)

    @property
    def here_bytes(self) -> int:
        """Bytes of the parts that are there."""
        return sum(self.range_of(part)[1] for part in self._here)

    def missing(self) -> list[int]:
        """Return the parts that have to be brought."""
        return [part for part in range(self.count) if part not in self._here]

    def range_of(self, part: int) -> tuple[int, int]:
        """Return first byte and length of a part."""
        start = part * PART_BYTES
        return start, min(PART_BYTES, self._file.size - start)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes of a part."""
        os.pwrite(self._handle, data, offset)

    def done(self, part: int) -> None:
        """Note that a part is there; hashes what follows on what was hashed, if no other thread is at it."""
        with self._lock:
            self._here.add(part)
            self._notes.write(f"{part}\n")
            self._notes.flush()
        if self._hashing.acquire(blocking=False):
            try:
                self._hash()
            finally:
                self._hashing.release()

    def finish(self) -> bool:
        """Give the file its name if its digest is right; else everything has to be brought again."""
        with self._hashing:
            self._hash()
            is_right = self._hashed == self._file.size and self._digest.hexdigest() == self._file.sha256
        if is_right:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # a worker that brought the same file was faster
                self._path.replace(self._target)
            is_right = self._target.is_file()
        if not is_right:
            self._here.clear()
            self._notes.truncate(0)
            self._digest, self._hashed = hashlib.sha256(), 0
        else:
            self._journal.unlink(missing_ok=True)
        return is_right

    def close(self) -> None:
        """Let go of the file; what is there stays for the next attempt."""
        self._notes.close()
        os.close(self._handle)

    def _had(self) -> set[int]:
        try:
            lines = self._journal.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return set()
        return {int(line) for line in lines if line.isdigit() and int(line) < self.count}

    def _hash(self) -> None:
        buffer = memoryview(bytearray(min(_CHUNK, max(self._file.size, 1))))
        while self._hashed < self._file.size and self._hashed // PART_BYTES in self._here:
            start, length = self.range_of(self._hashed // PART_BYTES)
            for offset in range(start, start + length, len(buffer)):
                count = os.preadv(self._handle, [buffer[: start + length - offset]], offset)
                self._digest.update(buffer[:count])
            self._hashed = start + length


def tidy(root: Path) -> None:
    """Remove a folder for unfinished files, and in it what nobody has gone on with for long.

    Args:
        root: The folder; another worker may be using it.
    """
    with contextlib.suppress(OSError):
        for path in root.iterdir():
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                path.unlink()
        root.rmdir()
