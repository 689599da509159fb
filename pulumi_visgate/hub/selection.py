"""Which files of a model on a hub a cache takes; pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, TypeVar

from pulumi_visgate.hub.errors import HubError
from pulumi_visgate.hub.protocol import RepoFile
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ContractError
from visgate_contract.selection import pipeline_files

FileT = TypeVar("FileT", bound=RepoFile)


def select(
    files: Sequence[FileT], index: Mapping[str, Any], *, variant: str | None = None, patterns: Sequence[str] = ()
) -> list[FileT]:
    """Choose the files of a model.

    Without patterns these are `model_index.json`, licences, and of each part that the index names its configuration
    and its safetensors; other precisions, other formats and single-file checkpoints stay where they are.

    Args:
        files: Everything that the hub has.
        index: Content of `model_index.json`.
        variant: Take weights of this variant, such as `fp16`, of every part that has them.
        patterns: Take exactly what matches one of these shell patterns, and the index.

    Raises:
        HubError: A part has no weights that may be taken.
    """
    if patterns:
        return [file for file in files if file.path == MODEL_INDEX or _matches(file.path, patterns)]
    try:
        chosen = set(pipeline_files([file.path for file in files], index, variant=variant))
    except ContractError as error:
        raise HubError(error.detail, hint=error.hint) from None
    return [file for file in files if file.path in chosen]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
