"""What the hub has: models as folders, each a commit that its content names."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

LARGE_BYTES = 64 * 1024
"""From here on a file is stored as LFS, known by its SHA-256."""

BRANCH = "main"
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of a file.

    Args:
        file: Where it lies.
        size: Bytes.
        sha256: 64 hexadecimal digits.
        sha1: Git's digest of it, 40 hexadecimal digits.
    """

    file: Path
    size: int
    sha256: str
    sha1: str

    @property
    def is_large(self) -> bool:
        """It is stored as LFS."""
        return self.size >= LARGE_BYTES

    @property
    def etag(self) -> str:
        """What the hub's clients know the content by."""
        return self.sha256 if self.is_large else self.sha1


@dataclass(frozen=True, slots=True)
class Commit:
    """A revision of a model.

    Args:
        files: Content by path, with forward slashes.
    """

    files: Mapping[str, Blob]

    @property
    def sha(self) -> str:
        """40 hexadecimal digits over all paths and contents."""
        named = {path: blob.sha1 for path, blob in sorted(self.files.items())}
        return hashlib.sha1(json.dumps(named).encode(), usedforsecurity=False).hexdigest()


class Library(Protocol):
    """Where the hub looks."""

    def has(self, model_id: str) -> bool:
        """Tell whether there is such a model."""
        ...

    def commit(self, model_id: str, revision: str) -> Commit | None:
        """Return the commit of a branch, tag or commit."""
        ...


class Folders:
    """Models as `<root>/<org>/<name>/`; `main`, and the commit that it is at, are the only revisions.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, tuple[tuple[int, int], Blob]] = {}
        self._lock = Lock()

    def has(self, model_id: str) -> bool:
        """Tell whether there is such a folder; names cannot lead out of the root."""
        return bool(_MODEL_ID.fullmatch(model_id)) and (self._root / model_id).is_dir()

    def commit(self, model_id: str, revision: str) -> Commit | None:
        """Return what the folder holds now, if that is what is asked for."""
        if not self.has(model_id):
            return None
        folder = self._root / model_id
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
        found = Commit({path.relative_to(folder).as_posix(): self._blob(path) for path in visible})
        return found if revision in {BRANCH, found.sha} else None

    def _blob(self, path: Path) -> Blob:
        """Hash a file, once for each state of it."""
        with self._lock:
            stat = path.stat()
            state = (stat.st_size, stat.st_mtime_ns)
            if path not in self._known or self._known[path][0] != state:
                self._known[path] = (state, blob_of(path))
            return self._known[path][1]


def blob_of(path: Path) -> Blob:
    """Read a file and return what it is known by."""
    size = path.stat().st_size
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            sha1.update(chunk)
    return Blob(path, size, sha256.hexdigest(), sha1.hexdigest())
