"""Where a cached model lies on a volume, and which of its revisions is the current one.

`models/<org>/<name>/` holds a folder for each revision and a manifest that names the current one. The manifest is
written when that folder is whole, so whoever begins there never meets half a model. A model that was copied by hand
lies in `models/<org>/<name>/` itself and has no manifest.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MANIFEST_NAME = ".visgate-manifest.json"
WEIGHTS = ".safetensors"
SHARD_INDEX = re.compile(r"\.(?:safetensors|bin)\.index(?:\.(?P<variant>[^.]+))?\.json$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


class CacheHead(BaseModel):
    """The part of a manifest that a reader needs to find the model.

    Args:
        folder: Folder of the current revision beside the manifest; empty when the files lie beside it themselves.
        revision: What the program asked for, such as a branch.
        commit: Commit of the hub that this is.
    """

    model_config = ConfigDict(frozen=True)

    folder: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]*)?$")] = ""
    revision: str | None = None
    commit: str | None = None

    def is_at(self, revision: str | None) -> bool:
        """Tell whether the current revision is the one that is asked for; None asks for any."""
        return revision is None or revision in {self.revision, self.commit}


def _inside(path: str) -> str:
    """Refuse the path of a file that would lie anywhere but in its model's folder."""
    if path != str(PurePosixPath(path)) or path.startswith("/") or ".." in PurePosixPath(path).parts:
        message = "must be a relative path with forward slashes, inside the model's folder"
        raise ValueError(message)
    return path


class ManifestFile(BaseModel):
    """One file.

    Args:
        sha256: 64 hexadecimal digits.
        size: Bytes.
        blob_id: The hub's own digest of a small file, git's SHA-1 of it; 40 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int = Field(ge=0)
    blob_id: str | None = None


class Manifest(CacheHead):
    """All files of a model, by their path inside its folder.

    Args:
        model_id: Hub id of the model.
        files: Files by relative path, with forward slashes.
        pinned: Digest of the commit and the choice of files, for a model of a hub.
    """

    model_id: str
    files: Mapping[Annotated[str, AfterValidator(_inside)], ManifestFile]
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


def model_prefix(model_id: str) -> str:
    """Return the key prefix of a model, which is also its folder on the volume: `models/<org>/<name>/`."""
    return f"models/{model_id}/"


def variant_of(path: str) -> str | None:
    """Return the variant in the name of a weights file or of an index of shards, such as `fp16`, as diffusers names it.

    Args:
        path: Path of the file, with forward slashes.
    """
    if index := SHARD_INDEX.search(path):
        return index["variant"]
    stem = _SHARD.sub("", PurePosixPath(path).name.removesuffix(WEIGHTS))
    return stem.partition(".")[2] or None
