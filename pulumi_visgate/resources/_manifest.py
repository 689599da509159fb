"""What a model consists of: every file with its digest, and one identity over all; no Pulumi, no network."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pydantic import BaseModel, ConfigDict

from visgate_contract.caches import CacheHead

FOLDER_LENGTH = 40
_CHUNK = 1 << 20
_HASHERS = 4


class ManifestFile(BaseModel):
    """One file.

    Args:
        sha256: 64 hexadecimal digits.
        size: Bytes.
        blob_id: The hub's own digest of a small file, git's SHA-1 of it; 40 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    blob_id: str | None = None


class Manifest(CacheHead):
    """All files of a model, by their path inside its folder.

    Args:
        model_id: Hub id of the model.
        files: Files by relative path, with forward slashes.
        pinned: Digest of the commit and the choice of files, for a model of a hub.
    """

    model_id: str
    files: Mapping[str, ManifestFile]
    pinned: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over paths and contents, 64 hexadecimal digits."""
        lines = sorted(f"{path}\0{file.sha256}\0{file.size}" for path, file in self.files.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def head(self) -> CacheHead:
        """Where the files are, and of which revision."""
        return CacheHead(folder=self.folder, revision=self.revision, commit=self.commit)

    @property
    def identity(self) -> str:
        """What tells this content from any other, and is known before a byte is fetched."""
        return self.pinned or self.digest

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def keys(self, prefix: str) -> dict[str, ManifestFile]:
        """Return the files by object key.

        Args:
            prefix: Key prefix of the model.
        """
        folder = f"{prefix}{self.folder}/" if self.folder else prefix
        return {folder + path: file for path, file in self.files.items()}

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return json.dumps(self.model_dump(exclude_none=True), indent=1, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that a source offers, with the digest that the source tells of it.

    Args:
        path: Relative path, with forward slashes.
        size: Bytes.
        sha256: Known for files of a folder, and for large files of a hub.
        blob_id: Known for small files of a hub.
    """

    path: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None

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
