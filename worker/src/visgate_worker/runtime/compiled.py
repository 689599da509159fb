"""Compiled code that outlives its worker: the compiler's own cache folder, as one file on the volume.

A file for each GPU, family and set of versions, since compiled code fits nothing else. The compiler looks everything up
by the digest of what it compiles, so a file of too much or too little only costs time.
"""

import contextlib
import hashlib
import logging
import os
import tarfile
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

CACHE_ENV = "TORCHINDUCTOR_CACHE_DIR"
FOLDER = ".visgate/compiled"
MAX_BYTES = 2 * 1024**3


class CompiledCode:
    """The compiler's cache of this worker.

    Args:
        root: Volume, or the machine's own cache.
        local: Folder of this machine that the compiler uses.
        key: GPU, family and versions.
    """

    def __init__(self, root: Path, local: Path, *, key: str) -> None:
        self._path = root / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.tar"
        self._local = local
        self._kept: frozenset[str] = frozenset()

    def restore(self) -> int:
        """Bring what an earlier worker has compiled to where the compiler looks; returns the number of files."""
        os.environ[CACHE_ENV] = str(self._local)
        self._local.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(self._path) as archive:
                archive.extractall(self._local, filter="data")
        except FileNotFoundError:
            return 0
        except (OSError, tarfile.TarError) as error:
            log.warning("compiled code on the volume cannot be used: %s", type(error).__name__)
            return 0
        self._kept = self._files()
        return len(self._kept)

    def keep(self) -> bool:
        """Put what has been compiled since onto the volume; tells whether there was anything new."""
        files = self._files()
        if files <= self._kept or sum((self._local / name).stat().st_size for name in files) > MAX_BYTES:
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".")
            with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
                for path in sorted(files):
                    with contextlib.suppress(FileNotFoundError):  # the compiler's own temporary files
                        archive.add(self._local / path, arcname=path)
            Path(name).replace(self._path)
        except OSError as error:
            log.warning("compiled code could not be kept: %s", type(error).__name__)
            return False
        self._kept = files
        return True

    def _files(self) -> frozenset[str]:
        found = (
            path for path in self._local.rglob("*") if path.is_file() and not path.name.endswith((".lock", ".tmp"))
        )
        return frozenset(path.relative_to(self._local).as_posix() for path in found)
