"""The files of a model in a folder or on a hub, and the manifest of a folder; no Pulumi, no network."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pulumi_visgate.hub.protocol import RepoFile
from visgate_contract.caches import Manifest, ManifestFile

FOLDER_LENGTH = 40
_CHUNK = 1 << 20
_HASHERS = 4


@dataclass(frozen=True, slots=True)
class SourceFile(RepoFile):
    """A file that a source offers; its SHA-256 is known for every file of a folder, too."""

    def is_same(self, file: ManifestFile) -> bool:
        """Tell whether a stored file has this content."""
        if self.size != file.size:
            return False
        return self.sha256 == file.sha256 if self.sha256 else self.blob_id == file.blob_id is not None


def scan(folder: Path, model_id: str) -> Manifest:
    """Hash every file of a folder; hidden files and folders are left out.

    Args:
        folder: A model in diffusers' folder format.
        model_id: Hub id of the model.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    with ThreadPoolExecutor(_HASHERS) as pool:
        files = dict(zip((path.relative_to(folder).as_posix() for path in paths), pool.map(_file, paths), strict=True))
    return Manifest(model_id=model_id, files=files)


def pinned_digest(commit: str, variant: str | None, patterns: list[str]) -> str:
    """Return the identity of a choice of files at a commit of a hub, 64 hexadecimal digits."""
    return hashlib.sha256("\0".join([commit, variant or "", *sorted(patterns)]).encode()).hexdigest()


_known: dict[tuple[str, int, int], ManifestFile] = {}
_known_lock = Lock()


def _file(path: Path) -> ManifestFile:
    """Hash a file, once for each state of it in this process."""
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    with _known_lock:
        if key in _known:
            return _known[key]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = ManifestFile(sha256=digest.hexdigest(), size=state.st_size)
    with _known_lock:
        _known[key] = found
    return found
