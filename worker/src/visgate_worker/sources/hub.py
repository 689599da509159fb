"""The hub, and the caches that its client keeps: `models--<org>--<name>/{blobs,refs,snapshots}` (also Runpod's own).

The hub's client downloads, in parallel and with its own checks; which files a pipeline needs is decided here, so that a
download begins while torch and diffusers are still being imported.
"""

import contextlib
import glob
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import SecretStr

from visgate_contract.caches import ManifestFile
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ErrorCode
from visgate_contract.selection import pipeline_files
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.sources.fill import OnBytes
from visgate_worker.sources.integrity import Flaw, digest_of
from visgate_worker.sources.lease import lease

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)

METADATA_TIMEOUT_S = 30.0
COUNT_EVERY_S = 0.5
LEASE = ".visgate-downloading"

# Told how many bytes of how many are there.
OnBytesOf = Callable[[int, int], object]


def cache_of(volume: Path) -> Path:
    """Return the hub cache of a volume."""
    return volume / "huggingface-cache" / "hub"


def repository_of(cache: Path, model_id: str) -> Path:
    """Return the folder of a model in a hub cache."""
    return cache / f"models--{model_id.replace('/', '--')}"


def snapshot_of(cache: Path, model_id: str, revision: str | None) -> Path | None:
    """Return the folder of a revision in a hub cache, whole or not; of the main branch, or of any, when left out."""
    repository = repository_of(cache, model_id)
    snapshots = repository / "snapshots"
    reference = repository / "refs" / (revision or "main")
    names = [reference.read_text(encoding="utf-8").strip()] if reference.is_file() else []
    if revision is not None:
        names.append(revision)
    elif snapshots.is_dir():
        names += sorted((entry.name for entry in snapshots.iterdir()), reverse=True)
    return next((snapshots / name for name in names if name and (snapshots / name).is_dir()), None)


def discard(snapshot: Path, flaws: list[Flaw]) -> None:
    """Take damaged files out of a hub cache, so that its client brings them again; it looks at names only."""
    for flaw in flaws:
        link = snapshot / flaw.path
        if link.is_symlink() or link.is_file():
            with contextlib.suppress(OSError):  # a cache that cannot be written to is passed over
                link.resolve().unlink(missing_ok=True)
                link.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model that came from the hub.

    Args:
        path: Its snapshot in the cache.
        fetched_bytes: What was not there before.
        seconds: How long it took.
        repaired_files: Files that had been there, and were damaged.
    """

    path: Path
    fetched_bytes: int
    seconds: float
    repaired_files: int


class Hub:
    """The hub that `HF_ENDPOINT` names, the public one when left out.

    Args:
        token: Token for gated and private models.
        endpoint: Another hub.
    """

    def __init__(self, token: SecretStr | None = None, *, endpoint: str | None = None) -> None:
        self._token = token.get_secret_value() if token else False
        self._endpoint = endpoint

    def download(
        self, model_id: str, revision: str | None, cache: Path, *, on_bytes: OnBytesOf = lambda _done, _total: None
    ) -> Downloaded | None:
        """Bring a model into a hub cache; None if the hub does not have it.

        Args:
            model_id: Hub id of the model.
            revision: Branch, tag or commit; the default branch when left out.
            cache: The hub cache, with what it already has.
            on_bytes: Told how many bytes of how many are there.

        Raises:
            JobFailedError: The hub has the model and does not give it, or cannot be reached (`model_load_failed`).
        """
        from huggingface_hub import snapshot_download  # noqa: PLC0415, slow, and only for models that are not near

        began = time.perf_counter()
        repository = repository_of(cache, model_id)
        with _in_words(model_id):
            info = self._info(model_id, revision, cache)
            if info is None:
                return None
            sizes = self._chosen(model_id, info)
            snapshot, total = repository / "snapshots" / str(info.sha), sum(sizes.values())
            with lease(repository / LEASE, while_waiting=lambda: on_bytes(_here(repository, total), total)):
                flaws = _flaws(snapshot, sizes)
                damaged = [flaw for flaw in flaws if (snapshot / flaw.path).exists()]
                discard(snapshot, damaged)
                with _counted(repository, total, on_bytes):
                    snapshot_download(
                        model_id,
                        revision=str(info.sha),
                        cache_dir=str(cache),
                        token=self._token,
                        endpoint=self._endpoint,
                        allow_patterns=[glob.escape(path) for path in sizes],
                    )
                if left := _flaws(snapshot, sizes):
                    detail = f"{model_id} came damaged from the hub: {left[0]}."
                    raise JobFailedError(detail, hint="Send the request again.", code=ErrorCode.MODEL_LOAD_FAILED)
        fetched = sum(sizes[flaw.path] for flaw in flaws)
        return Downloaded(snapshot, fetched, time.perf_counter() - began, len(damaged))

    def bring_files(self, model_id: str, commit: str, files: Mapping[str, ManifestFile], folder: Path) -> None:
        """Bring single files of a commit into a folder outside of any hub cache, each checked.

        Args:
            model_id: Hub id of the model.
            commit: Commit of the hub.
            files: What is wanted, by path in the model.
            folder: The model's folder; each file appears there when it is whole.

        Raises:
            JobFailedError: The hub does not give them (`model_load_failed`).
        """
        with _in_words(model_id), TemporaryDirectory(prefix=".visgate-hub-", dir=folder.parent) as scratch:
            for path, file in files.items():
                brought = self._file(model_id, path, commit, Path(scratch))
                if digest_of(brought, hashlib.sha256()) != file.sha256:
                    detail = f"{path} of {model_id} at {commit[:12]} is not what the manifest says."
                    raise JobFailedError(detail, hint="Seed the model again.", code=ErrorCode.MODEL_LOAD_FAILED)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                brought.replace(folder / path)

    def _info(self, model_id: str, revision: str | None, cache: Path) -> "ModelInfo | None":
        from huggingface_hub import HfApi, errors  # noqa: PLC0415, slow

        api = HfApi(endpoint=self._endpoint, token=self._token, library_name="visgate-worker")
        try:
            # Notes in the cache what the revision stands for.
            commit = api.resolve_revision(model_id, revision=revision, cache_dir=str(cache)).resolved
            return api.model_info(model_id, revision=commit, files_metadata=True, timeout=METADATA_TIMEOUT_S)
        except errors.GatedRepoError:
            raise
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            return None
        except errors.RevisionResolutionError as error:
            raise error.__cause__ or error from None  # that the hub was not to be reached, or asked

    def _chosen(self, model_id: str, info: "ModelInfo") -> dict[str, int]:
        """Return the files that the model's pipeline needs, and their sizes."""
        sizes = {item.rfilename: item.size for item in info.siblings or []}
        if MODEL_INDEX not in sizes:
            detail = f"{model_id} has no {MODEL_INDEX} on the hub, so it is not in diffusers' folder format."
            raise JobFailedError(detail, hint="Choose a model for diffusers.", code=ErrorCode.MODEL_LOAD_FAILED)
        with TemporaryDirectory(prefix="visgate-") as scratch:
            index = json.loads(self._file(model_id, MODEL_INDEX, str(info.sha), Path(scratch)).read_bytes())
        return {path: sizes[path] or 0 for path in pipeline_files(tuple(sizes), index, or_pickled=True)}

    def _file(self, model_id: str, path: str, commit: str, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415, slow

        return Path(
            hf_hub_download(
                model_id, path, revision=commit, local_dir=folder, token=self._token, endpoint=self._endpoint
            )
        )


@dataclass(frozen=True, slots=True)
class HubOrigin:
    """A commit of the hub, as a place where files of a folder on the volume can be had again.

    Args:
        hub: The hub.
        model_id: Hub id of the model.
        commit: Commit of the hub.
    """

    hub: Hub
    model_id: str
    commit: str

    def bring(self, files: Mapping[str, ManifestFile], folder: Path, _root: Path, on_bytes: OnBytes) -> None:
        """Put files into a folder; see `Origin`."""
        folder.mkdir(parents=True, exist_ok=True)
        done = 0
        for path, file in files.items():
            self.hub.bring_files(self.model_id, self.commit, {path: file}, folder)
            done += file.size
            on_bytes(done)


def _flaws(snapshot: Path, sizes: Mapping[str, int]) -> list[Flaw]:
    found = []
    for path, size in sizes.items():
        try:
            is_right = (snapshot / path).stat().st_size == size
        except OSError:
            is_right = False
        if not is_right:
            found.append(Flaw(path, "is missing or cut"))
    return found


def _here(repository: Path, total: int) -> int:
    """Return how many bytes the cache holds, finished or not."""
    here = 0
    with contextlib.suppress(OSError):  # files come and go meanwhile
        here = sum(entry.stat().st_size for entry in os.scandir(repository / "blobs") if entry.is_file())
    return min(here, total)


@contextmanager
def _counted(repository: Path, total: int, on_bytes: OnBytesOf) -> Iterator[None]:
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(COUNT_EVERY_S):
            on_bytes(_here(repository, total), total)

    counter = threading.Thread(target=count, name="hub-bytes", daemon=True)
    counter.start()
    try:
        yield
    finally:
        ended.set()
        counter.join()


@contextmanager
def _in_words(model_id: str) -> Iterator[None]:
    """Put errors of the hub's client into words.

    Raises:
        JobFailedError: The hub does not give the model, or cannot be reached (`model_load_failed`).
    """
    import httpx2  # noqa: PLC0415, what huggingface_hub sends with
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled  # noqa: PLC0415, slow

    try:
        yield
    except GatedRepoError as error:
        detail = f"{model_id} is gated on the hub, and this worker's token has no access."
        hint = "Accept the model's terms and set HF_TOKEN in the env of the endpoint."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
    except OfflineModeIsEnabled as error:
        detail = f"{model_id} is not on this machine, and the hub may not be asked while HF_HUB_OFFLINE is set."
        hint = "Unset it, or put the model on the network volume."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
    except (OSError, httpx2.HTTPError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        is_ours = not isinstance(error, httpx2.HTTPError)  # the text of the others holds signed links
        said = f"status {status}" if status else summary(error) if is_ours else type(error).__name__
        detail = f"{model_id} could not be downloaded from the hub: {said}"
        hint = "Check HF_ENDPOINT and the worker's network, or put the model on the network volume."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
