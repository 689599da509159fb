"""Where a model is found: the nearest copy first.

Order: folder on the network volume, hub cache on the network volume, the hub itself. What the hub gives is kept in the
volume's hub cache, if the volume is there, so that the next worker finds it near.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr, ValidationError

from visgate_contract.caches import MANIFEST_NAME, CacheHead, model_prefix
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError, summary

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in the diffusers folder format on a local path.

    Args:
        path: The folder with `model_index.json`.
        source: Where the bytes were when the search began.
    """

    path: Path
    source: Literal["volume", "s3", "hub"]

    def index(self) -> dict[str, Any]:
        """Read `model_index.json`.

        Raises:
            JobFailedError: The file is no JSON object (`model_load_failed`).
        """
        try:
            parsed = json.loads((self.path / MODEL_INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            detail = f"{MODEL_INDEX} of the model cannot be read: {summary(error)}"
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED) from error
        if not isinstance(parsed, dict):
            detail = f"{MODEL_INDEX} of the model is not a JSON object."
            raise JobFailedError(detail, hint="Copy the model again.", code=ErrorCode.MODEL_LOAD_FAILED)
        return parsed

    def config_of(self, part: str) -> dict[str, Any]:
        """Read the `config.json` of a part, such as the transformer; empty where there is none that can be read."""
        try:
            parsed = json.loads((self.path / part / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # loading the part says what is wrong with it
        return parsed if isinstance(parsed, dict) else {}

    def size_bytes(self) -> int:
        """Return the size of all files, links followed."""
        return sum((Path(folder) / name).stat().st_size for folder, _, names in os.walk(self.path) for name in names)


# A source looks in one place; None sends the search on to the next.
Source = Callable[[], ModelFolder | None]


def volume_folder(volume: Path, model_id: str, revision: str | None) -> ModelFolder | None:
    """Look in `<volume>/models/<org>/<name>/`.

    Its manifest names the folder of the current revision. Any other revision has a folder of its own name, and a model
    without a manifest lies there itself.
    """
    root = volume / model_prefix(model_id)
    current = _current(root)
    if current is not None and current.is_at(revision) and (root / current.folder / MODEL_INDEX).is_file():
        return ModelFolder(root / current.folder, "volume")
    path = root if revision is None else root / revision
    return ModelFolder(path, "volume") if (path / MODEL_INDEX).is_file() else None


def _current(root: Path) -> CacheHead | None:
    try:
        return CacheHead.model_validate_json((root / MANIFEST_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def volume_hub_cache(volume: Path, model_id: str, revision: str | None) -> ModelFolder | None:
    """Look in `<volume>/huggingface-cache/hub`, the layout of the hub's own client and of Runpod's model cache."""
    repository = hub_cache(volume) / f"models--{model_id.replace('/', '--')}"
    snapshots = repository / "snapshots"
    reference = repository / "refs" / (revision or "main")
    names = [reference.read_text(encoding="utf-8").strip()] if reference.is_file() else []
    if revision is not None:
        names.append(revision)
    elif snapshots.is_dir():
        names += sorted((entry.name for entry in snapshots.iterdir()), reverse=True)
    for name in names:
        if name and (snapshots / name / MODEL_INDEX).is_file():
            return ModelFolder(snapshots / name, "volume")
    return None


def hub_cache(volume: Path) -> Path:
    """Return the hub cache of a volume."""
    return volume / "huggingface-cache" / "hub"


def hub(volume: Path, model_id: str, revision: str | None, token: SecretStr | None) -> ModelFolder | None:
    """Download from the hub (`HF_ENDPOINT`), only the files that the pipeline uses.

    Raises:
        JobFailedError: The hub has the model and does not give it (`model_load_failed`), or cannot be reached.
    """
    from diffusers import DiffusionPipeline  # noqa: PLC0415, slow, and only for models that are not near
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: PLC0415

    cache = hub_cache(volume) if volume.is_dir() and os.access(volume, os.W_OK) else None
    try:
        path = DiffusionPipeline.download(
            model_id,
            revision=revision,
            token=token.get_secret_value() if token else None,
            cache_dir=str(cache) if cache else None,
        )
    except GatedRepoError as error:
        detail = f"{model_id} is gated on the hub, and this worker's token has no access."
        hint = "Accept the model's terms and set HF_TOKEN in the env of the endpoint."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None
    except OSError as error:
        if any(isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError) for cause in _causes(error)):
            return None
        detail = f"{model_id} could not be downloaded from the hub: {summary(error)}"
        hint = "Check HF_ENDPOINT and the worker's network, or put the model on the network volume."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
    return ModelFolder(Path(path), "hub")


def _causes(error: BaseException) -> Iterable[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def find_model(
    volume: Path, model_id: str, revision: str | None = None, *, token: SecretStr | None = None
) -> ModelFolder:
    """Return the nearest copy of a model.

    Args:
        volume: Where the network volume is mounted; need not exist.
        model_id: Hub id.
        revision: Branch, tag or commit; the default branch when left out.
        token: Hugging Face token.

    Raises:
        JobFailedError: No place has it (`model_not_found`), or the one that has it does not give it.
    """
    sources: tuple[tuple[str, Source], ...] = (
        ("volume folder", lambda: volume_folder(volume, model_id, revision)),
        ("volume hub cache", lambda: volume_hub_cache(volume, model_id, revision)),
        ("hub", lambda: hub(volume, model_id, revision, token)),
    )
    for place, look in sources:
        found = look()
        if found is not None:
            log.info("model %s found in the %s", model_id, place)
            return found
    wanted = f"{model_id} at revision {revision}" if revision else model_id
    detail = f"{wanted} is neither on the network volume (models/{model_id}/) nor on the hub."
    hint = "Check the model id and revision, or copy the model to the volume in the diffusers folder format."
    raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_NOT_FOUND)
