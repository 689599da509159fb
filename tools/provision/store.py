"""The shared cache: one folder per finished tool, published whole or not at all.

A tool is made in a folder `NAME.partial-*` beside its final place, under a lock, and moved there by one rename.
A run that was killed leaves only such a folder; the next one that holds the lock removes it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from tools.provision.errors import ProvisionError, UnusableCacheError
from tools.provision.host import cache_root

MARKER = "visgate-tool.json"


class FileRecord(TypedDict):
    """What the marker says of one file."""

    mtime_ns: int
    size: int
    sha256: str


def entry_path(name: str) -> Path:
    """Where a finished tool of this name is kept."""
    return cache_root() / "tools" / name


def is_complete(entry: Path) -> bool:
    """Says whether a finished tool is there and unchanged.

    Sizes and times are compared; only where the times differ (a copied cache) are the digests read.
    """
    try:
        recorded: dict[str, FileRecord] = json.loads((entry / MARKER).read_text("utf-8"))
        touched = [name for name, record in recorded.items() if not _looks_unchanged(entry / name, record)]
        if any(_digest(entry / name) != recorded[name]["sha256"] for name in touched):
            return False
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
    if touched:
        with contextlib.suppress(OSError):  # a cache of others can be read but not renewed
            _write_marker(entry, recorded)
    return True


def publish(name: str, make: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    """Returns the finished tool of this name; makes it first where it is missing.

    Args:
        name: The entry's name, which stands for everything that decides the content.
        make: Fills the folder it is given with the tool's files.
        say: Takes a line for the user.

    Raises:
        UnusableCacheError: The cache folder cannot be written.
        ProvisionError: From `make`.
    """
    entry = entry_path(name)
    with _lock(entry, say):
        if is_complete(entry):
            return entry
        _remove_leftovers(entry)
        with _writing(entry.parent):
            partial = Path(tempfile.mkdtemp(prefix=f"{name}.partial-", dir=entry.parent))
        try:
            content = partial / "content"
            content.mkdir()
            make(content)
            _write_marker(content, [path.name for path in content.iterdir()])
            if entry.exists():
                entry.rename(partial / "damaged")
            content.rename(entry)
        finally:
            _remove_leftovers(entry)
    return entry


def _remove_leftovers(entry: Path) -> None:
    """Removes this run's working folder, and what killed runs left; only the holder of the lock may."""
    for leftover in entry.parent.glob(f"{entry.name}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _lock(entry: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the entry's lock; the system drops it when this process ends, however it ends."""
    with _writing(entry.parent):
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle = entry.with_name(f"{entry.name}.lock").open("w")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that is preparing {entry.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = (
            f"the cache folder {folder} cannot be written ({error.strerror}): set VISGATE_CACHE_DIR to another one"
        )
        raise UnusableCacheError(message) from error


def _write_marker(folder: Path, filenames: Iterable[str]) -> None:
    content = {name: _describe(folder / name) for name in sorted(filenames)}
    fresh = folder / f"{MARKER}.{os.getpid()}"
    fresh.write_text(json.dumps(content, indent=1), "utf-8")
    fresh.replace(folder / MARKER)


def _describe(path: Path) -> FileRecord:
    status = path.stat()
    return {"mtime_ns": status.st_mtime_ns, "size": status.st_size, "sha256": _digest(path)}


def _looks_unchanged(path: Path, record: FileRecord) -> bool:
    status = path.stat()
    return status.st_mtime_ns == record["mtime_ns"] and status.st_size == record["size"]


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_digest(path: Path, sha256: str) -> None:
    """Checks a file against a pinned digest.

    Raises:
        ProvisionError: It differs.
    """
    if (actual := _digest(path)) != sha256:
        message = f"{path.name} has the SHA-256 {actual} instead of the pinned one"
        raise ProvisionError(message)
