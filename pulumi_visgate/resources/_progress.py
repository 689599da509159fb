"""How far a transfer is, told every other second; no Pulumi."""

from collections.abc import Callable
from threading import Lock
from time import monotonic

from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources._report import Report

EVERY_S = 2.0


class Progress:
    """Counts bytes and files of one model, from many threads.

    Args:
        name: What is told of.
        files: All files of the model.
        report: Where it is told.
        now: Monotonic clock, in seconds.
    """

    def __init__(
        self, name: str, files: list[SourceFile], report: Report, *, now: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._report = report
        self._now = now
        self._sizes = {file.path: file.size for file in files}
        self._done: dict[str, int] = dict.fromkeys(self._sizes, 0)
        self._whole = 0
        self._moved = 0
        self._began = self._told = now()
        self._lock = Lock()

    def sent(self, file: SourceFile, size: int, *, again: bool = False) -> None:
        """Count bytes of a file that are in the store now.

        Args:
            file: The file.
            size: Bytes.
            again: They were there already.
        """
        with self._lock:
            self._done[file.path] = min(self._done[file.path] + size, file.size)
            self._moved += 0 if again else size
            self._whole += self._done[file.path] == self._sizes[file.path]
            text = self._due()
        if text:
            self._report.status(text)  # outside of the lock: the engine may take its time

    def had(self, file: SourceFile) -> None:
        """Count a file that need not be sent."""
        self.sent(file, file.size, again=True)

    def took_back(self, file: SourceFile) -> None:
        """Forget what was counted of a file, because it begins again."""
        with self._lock:
            self._whole -= 0 < self._sizes[file.path] == self._done[file.path]
            self._done[file.path] = 0

    def summary(self) -> str:
        """Say what was done."""
        with self._lock:
            total, seconds = sum(self._sizes.values()), self._now() - self._began
            sent = f"{_size(self._moved)} sent in {seconds:.0f} s" if self._moved else "nothing had to be sent"
            return f"{self._name}: {_size(total)} in {len(self._sizes)} files, {sent}"

    def _due(self) -> str:
        now = self._now()
        if now - self._told < EVERY_S:
            return ""
        self._told = now
        done, total = sum(self._done.values()), sum(self._sizes.values())
        rate = self._moved / max(now - self._began, 0.001)
        return (
            f"{self._name}: {_size(done)} of {_size(total)}, {self._whole} of {len(self._sizes)} files, {_size(rate)}/s"
        )


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004, SI
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
