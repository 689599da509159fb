"""Which files of a model on a hub a diffusers pipeline needs; pure functions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, TypeVar

from pulumi_visgate.hub.errors import HubError
from pulumi_visgate.hub.protocol import RepoFile
from visgate_contract.caches import SHARD_INDEX, WEIGHTS, variant_of
from visgate_contract.capabilities import MODEL_INDEX

FileT = TypeVar("FileT", bound=RepoFile)

_OTHER_WEIGHTS = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".xml", ".gguf")
_LEGAL = ("LICENSE*", "LICENCE*", "NOTICE*")


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
    chosen = [file for file in files if file.path == MODEL_INDEX or _matches(file.path, _LEGAL)]
    for part, class_of in index.items():
        if isinstance(class_of, list) and len(class_of) == 2 and all(class_of):  # noqa: PLR2004, library and class
            inside = [file for file in files if file.path.startswith(f"{part}/")]
            chosen += _of_part(part, inside, variant)
    return chosen


def _of_part(part: str, files: Sequence[FileT], variant: str | None) -> Iterator[FileT]:
    weights = [file for file in files if file.path.endswith(WEIGHTS)]
    variants = {variant_of(file.path) for file in weights}
    if weights and variant not in variants and None not in variants:
        known = ", ".join(sorted(name for name in variants if name))
        detail = f"variant: {part} has its weights as {known} only."
        raise HubError(detail, hint="Choose one of them.")
    wanted = variant if variant in variants else None
    if not weights and any(file.path.endswith(_OTHER_WEIGHTS) for file in files):
        detail = (
            f"allow_patterns: {part} has no safetensors, only formats that can run code or that diffusers cannot load."
        )
        raise HubError(detail, hint="Name the files in allow_patterns if you trust them.")
    for file in files:
        is_weight = file.path.endswith(WEIGHTS) or SHARD_INDEX.search(file.path)
        if is_weight:
            of_other_format = ".bin.index." in file.path
            if not of_other_format and variant_of(file.path) == wanted:
                yield file
        elif not file.path.endswith(_OTHER_WEIGHTS):
            yield file


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
