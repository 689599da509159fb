"""How much memory and disk a model needs, estimated before anything is started; pure arithmetic over the hub's numbers.

A model's weights are known exactly. What a generation needs beside them is an estimate: `working_gib` grows with the
picture, or with the frames of a clip. Its two slopes are set by what the authors of models have published for bfloat16
without any saving (FLUX.1-dev at 1024 x 1024: 31.4 GiB of weights, 36.2 GiB at the peak; CogVideoX-5b at 720 x 480 with
49 frames: 19.6 GiB of weights, 24 to 26 GiB), and of a GPU's memory a part stays free. Workers that run out of memory
move the parts of a model to the GPU one at a time, so a model that does not fit whole may still fit by its parts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

GIB = 1 << 30
GB = 1_000_000_000
MEGAPIXEL = 1_000_000

CONTEXT_GIB = 1.5
"""CUDA's context and its kernels."""
PICTURE_GIB_PER_MEGAPIXEL = 3.5
CLIP_GIB_PER_MEGAPIXEL = 0.2  # of all frames together
HEADROOM = 0.06
"""Part of a GPU's memory that stays free: fragmentation, and what the driver keeps."""
DISK_RESERVE_GB = 5.0
"""What a container's disk needs beside the model: logs, scratch files and clips before they are uploaded."""

DEFAULT_PICTURE = (1024, 1024)
DEFAULT_CLIP = (832, 480, 81)

# Bytes of a parameter as stored, and as workers load it (bfloat16). Packed integers stay as they are.
_STORED_BYTES: Mapping[str, float] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
_LOADED_BYTES = 2
_POOL_MEMORY = re.compile(r"_(\d{2,3})(?:_|$)")


class Fit(StrEnum):
    """How a model finds room on a GPU."""

    WHOLE = "whole"
    BY_PARTS = "by_parts"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Part:
    """The weights of one part of a pipeline, such as the transformer.

    Args:
        name: Name in `model_index.json`.
        stored_bytes: Size of its weights on disk.
        dtypes: Share of each type of safetensors in them, such as `{"BF16": 1.0}`; empty when it is not known.
    """

    name: str
    stored_bytes: int
    dtypes: Mapping[str, float]

    @property
    def loaded_bytes(self) -> float:
        """Size in a worker's memory; as on disk while the types are not known."""
        shares = self.dtypes or {"BF16": 1.0}
        return sum(self.stored_bytes * share * _growth(dtype) for dtype, share in shares.items())


@dataclass(frozen=True, slots=True)
class Need:
    """GPU memory that a generation needs, in GiB.

    Args:
        whole: With all parts in it, which is fastest.
        by_parts: With one part at a time.
    """

    whole: float
    by_parts: float

    def on(self, memory_gb: float) -> Fit:
        """Return how it fits.

        Args:
            memory_gb: Memory of the GPU as the catalog tells it; 24 means 24 GiB.
        """
        free = memory_gb * (1 - HEADROOM)
        if self.whole <= free:
            return Fit.WHOLE
        return Fit.BY_PARTS if self.by_parts <= free else Fit.NO


def working_gib(*, width: int | None, height: int | None, num_frames: int | None, is_clip: bool) -> float:
    """Return what a generation needs beside the weights, in GiB.

    Args:
        width: Pixels; the usual when None.
        height: Pixels; the usual when None.
        num_frames: Frames of a clip; the usual when None.
        is_clip: It is a clip and no picture.
    """
    if not is_clip:
        pixels = (width or DEFAULT_PICTURE[0]) * (height or DEFAULT_PICTURE[1])
        return CONTEXT_GIB + PICTURE_GIB_PER_MEGAPIXEL * pixels / MEGAPIXEL
    pixels = (width or DEFAULT_CLIP[0]) * (height or DEFAULT_CLIP[1]) * (num_frames or DEFAULT_CLIP[2])
    return CONTEXT_GIB + CLIP_GIB_PER_MEGAPIXEL * pixels / MEGAPIXEL


def need(parts: Iterable[Part], working: float) -> Need:
    """Return the memory that a model needs.

    Args:
        parts: Its parts.
        working: What `working_gib` returned.
    """
    sizes = [part.loaded_bytes / GIB for part in parts]
    return Need(sum(sizes) + working, max(sizes, default=0.0) + working)


def disk_gb(download_bytes: int) -> float:
    """Return the container disk that a worker needs which downloads a model, in GB."""
    return download_bytes / GB + DISK_RESERVE_GB


def memory_of_pool(pool: str) -> int | None:
    """Return the GPU memory that the id of a Runpod pool names, in GB, such as 24 for `ADA_24`.

    Args:
        pool: Pool id of the catalog.
    """
    found = _POOL_MEMORY.search(pool)
    return int(found[1]) if found else None


def _growth(dtype: str) -> float:
    stored = _STORED_BYTES.get(dtype)
    return 1.0 if stored is None else _LOADED_BYTES / stored
