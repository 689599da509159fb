"""Weights into the page cache while the frameworks are still being imported, so that loading finds them in memory.

Reading a file releases the interpreter's lock, and several readers get more out of a network volume than one, or than
the page faults of a mapped file.
"""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

READERS = 4
CHUNK_BYTES = 8 * 1024 * 1024


def weights(folder: Path) -> list[Path]:
    """Return the files that a pipeline of this folder loads: of each part the full-precision safetensors, if there."""
    chosen: list[Path] = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        safe = sorted(part.glob("*.safetensors"))
        plain = [path for path in safe if ".fp16." not in path.name]
        chosen += plain or safe or sorted(part.glob("*.bin"))
    return chosen


def read_ahead(folder: Path, *, memory_bytes: int | None = None) -> list[threading.Thread]:
    """Begin to read a model's weights, in the background; does nothing where memory is too small to keep them.

    Args:
        folder: Model in the diffusers folder format.
        memory_bytes: Free memory; the machine's when left out.

    Returns:
        The readers, which end by themselves.
    """
    files = weights(folder)
    size_bytes = sum(path.stat().st_size for path in files)
    free_bytes = _free_bytes() if memory_bytes is None else memory_bytes
    if size_bytes > free_bytes // 2:
        return []
    chunks = ((path, offset) for path in files for offset in range(0, path.stat().st_size, CHUNK_BYTES))
    lock = threading.Lock()
    readers = [
        threading.Thread(target=_read, args=(chunks, lock), name="read-ahead", daemon=True) for _ in range(READERS)
    ]
    for reader in readers:
        reader.start()
    return readers


def _read(chunks: Iterator[tuple[Path, int]], lock: threading.Lock) -> None:
    buffer = bytearray(CHUNK_BYTES)
    while True:
        with lock:
            chunk = next(chunks, None)
        if chunk is None:
            return
        path, offset = chunk
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                file.readinto(buffer)
        except OSError as error:
            # Loading meets the same error and reports it.
            log.debug("reading ahead stopped: %s", error)
            return


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
