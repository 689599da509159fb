"""Which files of a model on a hub a diffusers pipeline needs; the same for a cache that is seeded and a worker."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import cast

from visgate_contract.caches import SHARD_INDEX, WEIGHTS, variant_of
from visgate_contract.capabilities import MODEL_INDEX
from visgate_contract.errors import ContractError

PICKLED = ".bin"
_OTHER_WEIGHTS = (PICKLED, ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".xml", ".gguf")
_LEGAL = ("LICENSE*", "LICENCE*", "NOTICE*")


def pipeline_files(
    paths: Sequence[str], index: Mapping[str, object], *, variant: str | None = None, or_pickled: bool = False
) -> list[str]:
    """Choose the files of a model.

    These are `model_index.json`, licences, and of each part that the index names its configuration and its
    safetensors; other precisions, other formats and single-file checkpoints stay where they are.

    Args:
        paths: Everything that the hub has, with forward slashes.
        index: Content of `model_index.json`.
        variant: Take weights of this variant, such as `fp16`, of every part that has them.
        or_pickled: Of a part without safetensors take `.bin` files, and of one that has its weights in variants only
            the first, as diffusers does; refused otherwise.

    Raises:
        ContractError: A part has no weights that may be taken.
    """
    chosen = [path for path in paths if path == MODEL_INDEX or any(fnmatch(path, pattern) for pattern in _LEGAL)]
    for part, class_of in index.items():
        names = cast("list[object]", class_of) if isinstance(class_of, list) else []
        if len(names) == 2 and all(names):  # noqa: PLR2004, library and class
            inside = [path for path in paths if path.startswith(f"{part}/")]
            chosen += _of_part(part, inside, variant, or_pickled=or_pickled)
    return chosen


def _of_part(part: str, paths: Sequence[str], variant: str | None, *, or_pickled: bool) -> Iterator[str]:
    weights = [path for path in paths if path.endswith(WEIGHTS)]
    variants = {variant_of(path) for path in weights}
    named = sorted(name for name in variants if name)
    wanted = variant if variant in variants else None
    if weights and wanted is None and None not in variants:
        if not or_pickled:
            detail = f"variant: {part} has its weights as {', '.join(named)} only."
            raise ContractError(detail, hint="Choose one of them.")
        wanted = named[0]
    has_pickled = any(path.endswith(_OTHER_WEIGHTS) for path in paths)
    if not weights and has_pickled and not or_pickled:
        detail = (
            f"allow_patterns: {part} has no safetensors, only formats that can run code or that diffusers cannot load."
        )
        raise ContractError(detail, hint="Name the files in allow_patterns if you trust them.")
    for path in paths:
        if path.endswith(WEIGHTS) or SHARD_INDEX.search(path):
            is_pickled = ".bin.index." in path
            if is_pickled is not bool(weights) and (is_pickled or variant_of(path) == wanted):
                yield path
        elif not path.endswith(_OTHER_WEIGHTS) or (
            path.endswith(PICKLED) and or_pickled and not weights and PurePosixPath(path).name.count(".") == 1
        ):
            yield path
