"""What a model consists of: every file with its SHA-256, and one digest over all; no Pulumi, no network."""

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from pydantic import BaseModel, ConfigDict

MANIFEST_NAME = ".visgate-manifest.json"
_CHUNK = 1 << 20
_HASHERS = 4
_REVISION = re.compile(r"[A-Za-z0-9._-]+")


class ManifestFile(BaseModel):
    """One file.

    Args:
        sha256: 64 hexadecimal digits.
        size: Bytes.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int


class Manifest(BaseModel):
    """All files of a model, by their path inside it.

    Args:
        model_id: Hub id of the model.
        files: Files by relative path, with forward slashes.
    """

    model_config = ConfigDict(frozen=True)

    model_id: str
    files: Mapping[str, ManifestFile]

    @property
    def digest(self) -> str:
        """SHA-256 over paths and contents, 64 hexadecimal digits."""
        lines = sorted(f"{path}\0{file.sha256}\0{file.size}" for path, file in self.files.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return json.dumps(self.model_dump(), indent=1, sort_keys=True).encode()


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


def model_prefix(model_id: str) -> str:
    """Return the key prefix of a model, which is also its folder on the volume: `models/<org>/<name>/`."""
    return f"models/{model_id}/"
