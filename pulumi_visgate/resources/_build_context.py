"""What an image is made from, as one digest; no Pulumi, and nothing is built here.

Two builds of the same context, Dockerfile and arguments give the same image, so the digest names it in the registry.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pulumi_visgate.resources.errors import BuildFailed

IGNORE_FILE = ".dockerignore"
SHORT = 12
_ALWAYS_IGNORED = (".git", "**/__pycache__")
_BLOCK = 1 << 20
_GROUP_DEPTH = 2


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The files that a build sees.

    Args:
        folder: Where they are.
        dockerfile: The Dockerfile, relative to the folder.
        files: Digest of each by its path; links by what they point to.
    """

    folder: Path
    dockerfile: str
    files: Mapping[str, str]

    @property
    def content(self) -> dict[str, str]:
        """Short digests of the parts, each a file or a folder at most two deep: a preview shows which one changed."""
        parts: dict[str, list[str]] = {}
        for path, digest in self.files.items():
            part = "/".join(PurePosixPath(path).parts[:_GROUP_DEPTH])
            parts.setdefault(part, []).append(f"{path} {digest}")
        return {part: _digest("\n".join(lines))[:SHORT] for part, lines in sorted(parts.items())}


def identity(content: Mapping[str, str], **recipe: object) -> str:
    """Return the digest of everything that decides what is in the image.

    Args:
        content: `BuildContext.content`.
        recipe: Dockerfile, target, platform, arguments.
    """
    return _digest(json.dumps({"content": dict(content), **recipe}, sort_keys=True, ensure_ascii=False))


def scan(folder: Path, dockerfile: str) -> BuildContext:
    """Read the files of a build context as Docker does: without what `.dockerignore` names.

    Args:
        folder: The build context.
        dockerfile: The Dockerfile, relative to the folder.

    Raises:
        BuildFailed: There is no such folder, or no Dockerfile in it.
    """
    from docker.utils import exclude_paths  # noqa: PLC0415, only programs with images need it

    if not (folder / dockerfile).is_file():
        detail = f"context: {folder} has no {dockerfile}."
        raise BuildFailed(detail, hint="Name the folder that holds it, or the file with `dockerfile`.")
    paths = exclude_paths(str(folder), [*_ALWAYS_IGNORED, *_ignored(folder)], dockerfile)
    found = ((path, folder / path) for path in sorted(_posix(path) for path in paths))
    return BuildContext(folder, dockerfile, {path: _file(full) for path, full in found if not _is_folder(full)})


def _ignored(folder: Path) -> list[str]:
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _file(path: Path) -> str:
    """Return the digest of a file and of its right to be executed: all that a layer keeps of it."""
    if path.is_symlink():
        return _digest(f"link {path.readlink()}")
    digest = hashlib.sha256(b"x" if path.stat().st_mode & 0o111 else b"-")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
