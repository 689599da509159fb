"""The nearest whole copy of a model, or one made whole.

Order: hub cache on the volume (Runpod's model cache, or what an earlier worker brought), folder on the volume, the
platform's model store, the hub. A copy that is not whole is repaired from a place further out, and passed over if none
has it. What comes over the network is kept on the volume, if there is one, so that the next worker finds it near.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from visgate_contract.caches import MANIFEST_NAME, CacheHead, Manifest, model_prefix
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ErrorCode
from visgate_contract.events import LoadProgress, LoadSource
from visgate_worker.failures import JobFailedError
from visgate_worker.sources import hub
from visgate_worker.sources.fill import Filled, Origin, StoreOrigin, fill
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.hub import Hub, HubOrigin
from visgate_worker.sources.integrity import Flaw, flaws_by_blobs, flaws_by_manifest, flaws_by_structure
from visgate_worker.sources.store import ModelStore

log = logging.getLogger(__name__)

Report = Callable[[LoadProgress], object]


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look.

    Args:
        volume: Where the network volume is mounted; need not exist.
        cache: Folder of this machine for what is fetched where no volume can be written to.
        store_url: Base of the platform's model store, if there is one.
        store_token: What opens it.
        hf_token: Hugging Face token.
        digests: Read every byte of a copy before it is used, instead of comparing sizes.
    """

    volume: Path
    cache: Path
    store_url: str | None = None
    store_token: SecretStr | None = None
    hf_token: SecretStr | None = None
    digests: bool = False

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where copies lie, nearest first."""
        return (self.volume, self.cache)

    @property
    def keep(self) -> Path:
        """Where to keep what is fetched."""
        return self.volume if self.volume.is_dir() and os.access(self.volume, os.W_OK) else self.cache


def find_model(
    places: Places, model_id: str, revision: str | None = None, *, report: Report = lambda _: None
) -> ModelFolder:
    """Return the nearest copy of a model that is whole.

    Args:
        places: Where to look.
        model_id: Hub id.
        revision: Branch, tag or commit; the default branch when left out.
        report: Told how far a download is.

    Raises:
        JobFailedError: No place has it (`model_not_found`), or the one that has it does not give it.
    """
    search = _Search(places, model_id, revision, report)
    try:
        found = search.near() or search.store() or search.hub()
    except JobFailedError as error:
        if not search.broken:
            raise
        detail = f"{search.broken} {error.detail}"
        raise JobFailedError(detail, hint=error.hint, code=error.code) from error
    if found is not None:
        log.info("model %s comes from %s: %s", model_id, found.source, found.path)
        return found
    if search.broken:
        detail = f"{search.broken} Neither the model store nor the hub has it."
        raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED)
    wanted = f"{model_id} at revision {revision}" if revision else model_id
    where = "on the network volume" + (", in the model store" if places.store_url else "")
    detail = f"{wanted} is neither {where} (models/{model_id}/) nor on the hub."
    hint = "Check the model id and revision, or copy the model to the volume in the diffusers folder format."
    raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_NOT_FOUND)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy on this machine, whole or not.

    Args:
        path: Its folder.
        source: What kind of place that is.
        root: Volume or cache that it is on.
        manifest: What it should be, if that is known.
    """

    path: Path
    source: LoadSource
    root: Path
    manifest: Manifest | None = None

    def flaws(self, *, digests: bool) -> list[Flaw]:
        if self.manifest is not None:
            return flaws_by_manifest(self.path, self.manifest, digests=digests)
        flaws = flaws_by_structure(self.path)
        if digests and not flaws and self.source == "model_cache":
            flaws = flaws_by_blobs(self.path)
        return flaws


class _Search:
    def __init__(self, places: Places, model_id: str, revision: str | None, report: Report) -> None:
        self._places = places
        self._model_id = model_id
        self._revision = revision
        self._report = report
        self._hub = Hub(places.hf_token)
        self._store = ModelStore(places.store_url, places.store_token) if places.store_url else None
        self._known: Manifest | None = None
        self.broken = ""  # what is wrong with a copy that is there

    def near(self) -> ModelFolder | None:
        """Return the first whole copy on this machine, or one that could be repaired."""
        broken: list[tuple[_Copy, list[Flaw]]] = []
        for copy in self._copies():
            flaws = copy.flaws(digests=self._places.digests)
            if not flaws:
                return ModelFolder(copy.path, copy.source)
            place = "hub cache" if copy.source == "model_cache" else "model folder"
            self.broken = f"The {place} of {self._model_id} is not whole: {_said(flaws)}."
            log.warning("%s: %s", copy.path, self.broken)
            broken.append((copy, flaws))
        for copy, flaws in broken:
            if copy.manifest is not None and (repaired := self._repaired(copy, copy.manifest)):
                return repaired
            if copy.source == "model_cache":
                hub.discard(copy.path, [flaw for flaw in flaws if (copy.path / flaw.path).is_file()])
        return None

    def _copies(self) -> Iterator[_Copy]:
        for root in self._places.roots:
            base = root / model_prefix(self._model_id)
            head, manifest = _head(base), _manifest(base)
            current = head if head and head.is_at(self._revision) and (base / head.folder).is_dir() else None
            # The manifest decides which commit is meant; the hub cache may be the nearer place that has it.
            wanted = current.commit or self._revision if current else self._revision
            snapshot = hub.snapshot_of(hub.cache_of(root), self._model_id, wanted)
            if snapshot is not None and (current is None or current.commit == snapshot.name):
                yield _Copy(snapshot, "model_cache", root)
            if current is not None:
                is_listed = manifest is not None and manifest.head == current and manifest.files
                if is_listed or (base / current.folder / MODEL_INDEX).is_file():
                    yield _Copy(base / current.folder, "volume", root, manifest if is_listed else None)
            path = base if self._revision is None else base / self._revision
            if (path / MODEL_INDEX).is_file() and (current is None or path != base / current.folder):
                yield _Copy(path, "volume", root)

    def _repaired(self, copy: _Copy, manifest: Manifest) -> ModelFolder | None:
        if not os.access(copy.path, os.W_OK):
            return None
        for origin in self._origins(manifest):
            try:
                done = self._fill(copy.root, manifest, origin, "volume")
            except (JobFailedError, OSError) as error:
                log.warning("the copy of %s could not be repaired: %s", self._model_id, error)
                continue
            log.info("%d files of %s were repaired", done.files, copy.path)
            return ModelFolder(copy.path, "volume", done.size_bytes, round(done.seconds, 6), done.files)
        return None

    def _origins(self, manifest: Manifest) -> Iterator[Origin]:
        stored = self._stored()
        if self._store is not None and stored is not None and stored.files == manifest.files:
            yield StoreOrigin(self._store, stored)
        if manifest.commit is not None:
            yield HubOrigin(self._hub, self._model_id, manifest.commit)

    def _stored(self) -> Manifest | None:
        """Return the model store's manifest if it is of the wanted revision; a store in trouble is passed over."""
        if self._store is not None and self._known is None:
            try:
                self._known = self._store.manifest(self._model_id)
            except JobFailedError as error:
                log.warning("%s", error)
        return self._known if self._known is not None and self._known.is_at(self._revision) else None

    def store(self) -> ModelFolder | None:
        """Bring the model from the platform's store."""
        stored = self._stored()
        if self._store is None or stored is None:
            return None
        root = self._places.keep
        try:
            done = self._fill(root, stored, StoreOrigin(self._store, stored), "s3")
        except (JobFailedError, OSError) as error:
            log.warning("the model store does not give %s: %s", self._model_id, error)
            return None
        finally:
            self._store.close()
        folder = root / model_prefix(self._model_id) / stored.folder
        return ModelFolder(folder, "s3", done.size_bytes, round(done.seconds, 6))

    def _fill(self, root: Path, manifest: Manifest, origin: Origin, source: LoadSource) -> Filled:
        def on_bytes(done: int) -> None:
            self._report(LoadProgress(source=source, done_bytes=done, total_bytes=manifest.size))

        place = root / model_prefix(self._model_id)
        return fill(place, manifest, origin, on_bytes=on_bytes, digests=self._places.digests)

    def hub(self) -> ModelFolder | None:
        """Bring the model from the hub."""

        def on_bytes(done: int, total: int) -> None:
            self._report(LoadProgress(source="hub", done_bytes=done, total_bytes=total))

        cache = hub.cache_of(self._places.keep)
        done = self._hub.download(self._model_id, self._revision, cache, on_bytes=on_bytes)
        if done is None:
            return None
        return ModelFolder(done.path, "hub", done.fetched_bytes, round(done.seconds, 6), done.repaired_files)


def _head(base: Path) -> CacheHead | None:
    with suppress(OSError, ValidationError):
        return CacheHead.model_validate_json((base / MANIFEST_NAME).read_bytes())
    return None


def _manifest(base: Path) -> Manifest | None:
    with suppress(OSError, ValidationError):
        return Manifest.model_validate_json((base / MANIFEST_NAME).read_bytes())
    return None


def _said(flaws: list[Flaw]) -> str:
    more = f" and {len(flaws) - 3} more" if len(flaws) > 3 else ""  # noqa: PLR2004, enough for a log line
    return ", ".join(str(flaw) for flaw in flaws[:3]) + more
