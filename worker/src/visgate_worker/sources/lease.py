"""One worker fills a folder at a time, on file systems that many machines mount.

Locks of the kernel do not reach across every network volume, so this is a file that its holder keeps fresh. What a
lease saves is double work; that two who fill at once do no harm is seen to by those who fill.
"""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

FRESHENED_EVERY_S = 5.0
STALE_AFTER_S = 30.0
POLL_S = 0.5


@contextmanager
def lease(path: Path, *, while_waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a lease; waits while another worker holds it, and takes over from one that has stopped keeping it fresh.

    Args:
        path: The file; its folder is made.
        while_waiting: Called now and then while another holds it.

    Raises:
        OSError: The folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(8)
    while not _take(path, mark):
        if _is_stale(path):
            _break(path)
            continue
        while_waiting()
        time.sleep(POLL_S)
    released = threading.Event()
    keeper = threading.Thread(target=_freshen, args=(path, released), name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        released.set()
        keeper.join()
        _release(path, mark)


def _take(path: Path, mark: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(mark)
    return True


def _is_stale(path: Path) -> bool:
    """Tell whether nobody has freshened the lease for long, by the clock of the file system that holds it."""
    probe = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
    try:
        return now - path.stat().st_mtime > STALE_AFTER_S
    except FileNotFoundError:
        return False


def _break(path: Path) -> None:
    log.warning("%s was left behind by a worker that is gone", path.name)
    broken = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):  # another worker was faster
        path.rename(broken)
        broken.unlink()


def _freshen(path: Path, released: threading.Event) -> None:
    while not released.wait(FRESHENED_EVERY_S):
        with contextlib.suppress(OSError):  # a volume that is gone is noticed by whoever writes to it
            os.utime(path)


def _release(path: Path, mark: str) -> None:
    with contextlib.suppress(OSError):
        if path.read_text(encoding="ascii") == mark:  # else it was taken over from us
            path.unlink()
