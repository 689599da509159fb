"""Where a cached model lies on a volume, and which of its revisions is the current one.

`models/<org>/<name>/` holds a folder for each revision and a manifest that names the current one. The manifest is
written when that folder is whole, so whoever begins there never meets half a model. A model that was copied by hand
lies in `models/<org>/<name>/` itself and has no manifest.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

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
