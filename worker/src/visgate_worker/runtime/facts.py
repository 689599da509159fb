"""What a model's folder tells before a byte of its weights is loaded."""

import json
import struct
from pathlib import Path

import diffusers

from visgate_contract.caches import WEIGHTS
from visgate_worker.runtime.recipe import Cache, Facts
from visgate_worker.sources.folder import ModelFolder

DENOISERS = ("transformer", "transformer_2", "unet")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def facts_of(folder: Path, *, item_bytes: int, steps: int) -> Facts:
    """Return what decides how a model can be executed.

    Args:
        folder: The model.
        item_bytes: Bytes of a number in the precision that the device computes in.
        steps: Steps that it is run with when nobody says.
    """
    model = ModelFolder(folder, "volume")
    sizes: dict[str, int] = {}
    for path in model.weights():
        sizes[path.parent.name] = sizes.get(path.parent.name, 0) + _bytes_in_memory(path, item_bytes)
    index = model.index()
    known = [one for part in DENOISERS if (one := _class_of(index.get(part))) is not None]
    can_cache = bool(known) and all(hasattr(one, "enable_cache") for one in known)
    return Facts(
        size_bytes=sum(sizes.values()),
        denoiser_bytes=sum(size for part, size in sizes.items() if part in DENOISERS),
        largest_bytes=max(sizes.values(), default=0),
        has_blocks=bool(known) and all(getattr(one, "_repeated_blocks", None) for one in known),
        caches=(Cache.FIRST_BLOCK, Cache.TAYLOR) if can_cache else (),
        steps=steps,
    )


def _class_of(named: object) -> type | None:
    is_diffusers = isinstance(named, list) and len(named) == 2 and named[0] == "diffusers"  # noqa: PLR2004, library, class
    found = getattr(diffusers, str(named[1]), None) if is_diffusers and isinstance(named, list) else None
    return found if isinstance(found, type) else None


def _bytes_in_memory(path: Path, item_bytes: int) -> int:
    """Return what a file's tensors take once they are loaded."""
    if path.suffix != WEIGHTS:
        return path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    total = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        count = 1
        for side in tensor["shape"]:
            count *= side
        total += count * item_bytes if tensor["dtype"] in _FLOATS else end - begin
    return total
