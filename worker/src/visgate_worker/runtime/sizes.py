"""What fits beside the weights: learned from the pictures that were drawn, told when one is too large."""

import math
from collections.abc import Sequence

from visgate_contract.errors import ErrorCode
from visgate_worker.adapters.base import Generation
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.recipe import Hardware

_USABLE = 0.95  # of a GPU's memory; its driver and fragments take the rest
_SHRINK = 0.5
_KEPT = 64


class Sizes:
    """Memory that pictures took beside the weights, by their size.

    Args:
        hardware: What runs the model.
        multiple: Sides are multiples of this.
    """

    def __init__(self, hardware: Hardware, multiple: int) -> None:
        self._hardware = hardware
        self._multiple = multiple
        self._seen: list[tuple[int, float]] = []  # values drawn, bytes for each

    def note(self, batch: Sequence[Generation], *, peak_bytes: int, held_bytes: int) -> None:
        """Learn from a call that went well.

        Args:
            batch: What was drawn.
            peak_bytes: The most memory that was held meanwhile.
            held_bytes: What the weights hold.
        """
        size = _size_of(batch)
        if self._hardware.is_gpu and size and peak_bytes > held_bytes:
            self._seen = [*self._seen[1 - _KEPT :], (size, (peak_bytes - held_bytes) / size)]

    def too_large(self, batch: Sequence[Generation], *, held_bytes: int) -> JobFailedError:
        """Return the error of a call for which memory did not suffice; says what would fit.

        Args:
            batch: What was asked for.
            held_bytes: What the weights hold.
        """
        device = f"{self._hardware.name}'s {self._hardware.memory_bytes / 1e9:.0f} GB" if self._hardware.is_gpu else ""
        beside = f" beside the model's {held_bytes / 1e9:.1f} GB" if held_bytes else ""
        asked = _said(batch[0].arguments)
        detail = f"{asked} does not fit into {device or 'this machine' + chr(39) + 's memory'}{beside}."
        return JobFailedError(detail, hint=self._hint(batch, held_bytes), code=ErrorCode.OUT_OF_MEMORY)

    def _hint(self, batch: Sequence[Generation], held_bytes: int) -> str:
        size = _size_of(batch)
        arguments = batch[0].arguments
        if not size or not arguments.get("width") or not arguments.get("height"):
            return "Ask for a smaller picture, or use a larger GPU."
        share, how = _SHRINK, "Try"
        if self._seen:
            each = max(bytes_each for _, bytes_each in self._seen)
            room = self._hardware.memory_bytes * _USABLE - held_bytes
            share, how = min(room / (each * size / len(batch)), 0.9), "By what others took,"
        frames = arguments.get("num_frames")
        scale = math.sqrt(max(share, 0.0))
        sides = [
            max(self._multiple, int(arguments[name] * scale) // self._multiple * self._multiple)
            for name in ("width", "height")
        ]
        smaller = f"{sides[0]} x {sides[1]}" + (f" with {frames} frames" if frames else "")
        return f"{how} {smaller}{' would fit' if self._seen else ''}, or use a larger GPU."


def _size_of(batch: Sequence[Generation]) -> int:
    pixels = batch[0].pixels() or 0
    return pixels * int(batch[0].arguments.get("num_frames") or 1) * len(batch)


def _said(arguments: object) -> str:
    given = arguments if isinstance(arguments, dict) else {}
    sides = f"{given['width']} x {given['height']}" if given.get("width") and given.get("height") else "This picture"
    return sides + (f" with {given['num_frames']} frames" if given.get("num_frames") else "")
