"""A model's folder made whole: what is missing or wrong in it is brought from a store or the hub, and checked.

The manifest is written last, and each file gets its name when it is whole. So a worker that is killed leaves nothing
that another would take for a model, and two that fill one folder do no harm to one another.
"""

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from visgate_contract.caches import MANIFEST_NAME, Manifest, ManifestFile, model_prefix
from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError
from visgate_worker.sources import partial
from visgate_worker.sources.integrity import flaws_by_manifest
from visgate_worker.sources.lease import lease
from visgate_worker.sources.partial import Partial
from visgate_worker.sources.store import ModelStore, StoreError, readers

log = logging.getLogger(__name__)

LEASE = ".visgate-filling"
SPARE_BYTES = 256 * 1024 * 1024
DIGEST_ATTEMPTS = 2

# Told how many bytes of all files are there.
OnBytes = Callable[[int], object]


class Origin(Protocol):
    """Where the files of a manifest can be had."""

    def bring(self, files: Mapping[str, ManifestFile], folder: Path, root: Path, on_bytes: OnBytes) -> None:
        """Put files into a folder, each checked.

        Args:
            files: By path in the folder.
            folder: The model's folder.
            root: Folder of the model with all of its revisions.
            on_bytes: Told how many bytes of these files are there.

        Raises:
            JobFailedError: It does not give them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling a folder took.

    Args:
        files: Files that were brought.
        size_bytes: Their size.
        seconds: How long it took, waiting for another worker included.
    """

    files: int
    size_bytes: int
    seconds: float


def fill(root: Path, manifest: Manifest, origin: Origin, *, on_bytes: OnBytes, digests: bool = False) -> Filled:
    """Make the folder of a manifest whole.

    Args:
        root: Folder of the model with all of its revisions; made if need be.
        manifest: What it should hold.
        origin: Where missing files come from.
        on_bytes: Told how many bytes of the model are there.
        digests: Look for files of the right size and wrong content, too.

    Raises:
        JobFailedError: The origin does not give them, or the disk is full (`model_load_failed`).
        OSError: The folder cannot be written to.
    """
    began = time.perf_counter()
    folder = root / manifest.folder

    def flawed() -> dict[str, ManifestFile]:
        found = flaws_by_manifest(folder, manifest, digests=digests)
        return {flaw.path: manifest.files[flaw.path] for flaw in found}

    with lease(root / LEASE, while_waiting=lambda: on_bytes(_here(folder, manifest.files))):
        wanted = flawed()
        size = sum(file.size for file in wanted.values())
        if wanted:
            _require_space(root, size)
            there = manifest.size - size
            origin.bring(wanted, folder, root, lambda count: on_bytes(there + count))
        write_manifest(root, manifest)
        partial.tidy(root / partial.FOLDER)
    return Filled(len(wanted), size, time.perf_counter() - began)


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write a manifest in one step, unless it is there already."""
    path, content = root / MANIFEST_NAME, manifest.to_bytes()
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass
    handle, name = tempfile.mkstemp(dir=root, prefix=f"{MANIFEST_NAME}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def _here(folder: Path, files: Mapping[str, ManifestFile]) -> int:
    return sum(file.size for path, file in files.items() if (folder / path).is_file())


def _require_space(root: Path, size: int) -> None:
    free = shutil.disk_usage(root).free
    if free < size + SPARE_BYTES:
        detail = f"The model needs {size / 1e9:.1f} GB more, and the disk has {free / 1e9:.1f} GB free."
        hint = "Use a larger container disk or network volume."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED)


class StoreOrigin:
    """Files of the model store, in ranges of all of them at once.

    Args:
        store: The store.
        manifest: Its own manifest of the model.
    """

    def __init__(self, store: ModelStore, manifest: Manifest) -> None:
        self._store = store
        self._keys = {path: key for key, path in _paths_by_key(manifest)}

    def bring(self, files: Mapping[str, ManifestFile], folder: Path, root: Path, on_bytes: OnBytes) -> None:
        """Put files into a folder; see `Origin`."""
        for _ in range(DIGEST_ATTEMPTS):
            files = self._bring(files, folder, root, on_bytes)
            if not files:
                return
            log.warning("%s came damaged from the model store", ", ".join(sorted(files)))
        detail = f"{min(files)} of the model store has another content than its manifest says."
        raise StoreError(detail, hint="Seed the model again with ModelCache.")

    def _bring(
        self, files: Mapping[str, ManifestFile], folder: Path, root: Path, on_bytes: OnBytes
    ) -> dict[str, ManifestFile]:
        """Return the files that came damaged."""
        partials = {
            path: Partial(folder / path, file, root / partial.FOLDER)
            for path, file in sorted(files.items(), key=lambda item: -item[1].size)
        }
        run = _Run(self._store, sum(one.here_bytes for one in partials.values()), on_bytes)
        wanted = [(path, number) for path, one in partials.items() for number in one.missing()]
        pool = ThreadPoolExecutor(readers(), thread_name_prefix="store")
        try:
            parts = [pool.submit(run.part, self._keys[path], partials[path], number) for path, number in wanted]
            for part in as_completed(parts):
                part.result()
            finished = pool.map(Partial.finish, partials.values())
            return {path: files[path] for path, is_right in zip(partials, finished, strict=True) if not is_right}
        finally:
            pool.shutdown(cancel_futures=True)
            for one in partials.values():
                one.close()


class _Run:
    def __init__(self, store: ModelStore, here_bytes: int, on_bytes: OnBytes) -> None:
        self._store = store
        self._bytes = here_bytes
        self._on_bytes = on_bytes
        self._lock = threading.Lock()

    def part(self, key: str, one: Partial, number: int) -> None:
        start, length = one.range_of(number)

        def sink(offset: int, data: bytes) -> None:
            one.write(offset, data)
            with self._lock:
                self._bytes += len(data)
                self._on_bytes(self._bytes)

        self._store.read(key, start, length, sink)
        one.done(number)


def _paths_by_key(manifest: Manifest) -> Iterable[tuple[str, str]]:
    keys = manifest.keys(model_prefix(manifest.model_id))
    return zip(keys, manifest.files, strict=True)
