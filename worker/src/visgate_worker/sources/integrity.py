"""Is a model whole: by its manifest where there is one, else by what its own files say of one another.

A file's size tells whether it was cut, and costs one call. Digests are for those who want to be sure, and for when
loading has failed: they read every byte.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from visgate_contract.caches import SHARD_INDEX, WEIGHTS, Manifest, ManifestFile
from visgate_contract.capabilities import MODEL_INDEX

_HEADER_LIMIT = 100 * 1024 * 1024  # as safetensors itself has it
_CHUNK = 4 * 1024 * 1024
_SHA256_DIGITS, _SHA1_DIGITS = 64, 40
# Parts whose files are small texts of any name.
_WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "Extractor")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a copy of a model.

    Args:
        path: File or part, relative to the model's folder.
        why: What is wrong with it.
    """

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


def flaws_by_manifest(folder: Path, manifest: Manifest, *, digests: bool = False) -> list[Flaw]:
    """Compare a folder with its manifest.

    Args:
        folder: The model.
        manifest: What it should be.
        digests: Read every byte, instead of comparing sizes only.
    """
    flaws = {path: why for path, file in manifest.files.items() if (why := _cut(folder / path, file.size))}
    if digests:
        rest = [(path, file) for path, file in manifest.files.items() if path not in flaws]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for path, is_right in pool.map(lambda one: (one[0], _is_file(folder / one[0], one[1])), rest):
                if not is_right:
                    flaws[path] = "has another content than its manifest says"
    return [Flaw(path, why) for path, why in flaws.items()]


def _cut(path: Path, size: int) -> str:
    try:
        found = path.stat().st_size
    except OSError:
        return "is missing"
    return "" if found == size else f"has {found} bytes of {size}"


def _is_file(path: Path, file: ManifestFile) -> bool:
    return digest_of(path, hashlib.sha256()) == file.sha256


def digest_of(path: Path, digest: Any) -> str:
    """Feed a file to a digest; returns its hexadecimal digits, or nothing if the file cannot be read."""
    buffer = memoryview(bytearray(_CHUNK))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
    except OSError:
        return ""
    return str(digest.hexdigest())


def flaws_by_structure(folder: Path) -> list[Flaw]:
    """Check that every part that `model_index.json` names is there, and that no weights are missing or cut."""
    index = _json(folder / MODEL_INDEX)
    if index is None:
        return [Flaw(MODEL_INDEX, "is missing or cannot be read")]
    flaws: list[Flaw] = []
    for part, class_of in index.items():
        if isinstance(class_of, list) and len(class_of) == 2 and all(class_of):  # noqa: PLR2004, library and class
            flaws += _flaws_of_part(folder / part, str(class_of[1]))
    return flaws


def _flaws_of_part(part: Path, class_name: str) -> Iterator[Flaw]:
    names = sorted(path.name for path in part.iterdir()) if part.is_dir() else []
    present = [name for name in names if (part / name).is_file()]
    for name in sorted(set(names) - set(present)):
        if (part / name).is_symlink():
            yield Flaw(f"{part.name}/{name}", "leads to a file that is missing")
    if not present:
        yield Flaw(part.name, "is missing")
        return
    weights = [name for name in present if name.endswith((WEIGHTS, ".bin"))]
    if "config.json" in present or not class_name.endswith(_WITHOUT_WEIGHTS):
        yield from _flaws_of_model(part, present, weights)
    for name in weights:
        if name.endswith(WEIGHTS) and not _is_whole_safetensors(part / name):
            yield Flaw(f"{part.name}/{name}", "is cut or damaged")


def _flaws_of_model(part: Path, present: list[str], weights: list[str]) -> Iterator[Flaw]:
    if "config.json" not in present:
        yield Flaw(f"{part.name}/config.json", "is missing")
    has_safetensors = any(name.endswith(WEIGHTS) for name in weights)
    indexes = [name for name in present if SHARD_INDEX.search(name)]
    for name in indexes:
        if ".bin.index" in name and has_safetensors:
            continue
        shards = (_json(part / name) or {}).get("weight_map")
        wanted = set(cast("Mapping[str, str]", shards).values()) if isinstance(shards, dict) else set()
        if not wanted:
            yield Flaw(f"{part.name}/{name}", "cannot be read")
        for shard in sorted(wanted - set(present)):
            yield Flaw(f"{part.name}/{shard}", "is missing")
    if not weights and not indexes:
        yield Flaw(part.name, "has no weights")


def _is_whole_safetensors(path: Path) -> bool:
    """Tell whether a file is as long as its own header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _HEADER_LIMIT):
                return False
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return size == 8 + int(length) + max(ends, default=0)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, struct.error):
        return False


def flaws_by_blobs(snapshot: Path) -> list[Flaw]:
    """Compare the files of a hub cache with their digests, which the hub's client names them by; reads every byte."""
    files = [path for path in sorted(snapshot.rglob("*")) if path.is_symlink() and path.is_file()]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        checked = pool.map(_is_blob, files)
        return [
            Flaw(path.relative_to(snapshot).as_posix(), "has another content than its name says")
            for path, is_right in zip(files, checked, strict=True)
            if not is_right
        ]


def _is_blob(link: Path) -> bool:
    path = link.resolve()
    digests: dict[int, Callable[[], Any]] = {
        _SHA256_DIGITS: hashlib.sha256,
        _SHA1_DIGITS: lambda: hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False),
    }
    is_digest = all(character in "0123456789abcdef" for character in path.name)
    make = digests.get(len(path.name)) if is_digest else None
    return make is None or digest_of(path, make()) == path.name


def _json(path: Path) -> dict[str, Any] | None:
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return parsed if isinstance(parsed, dict) else None
