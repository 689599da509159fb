"""Steps that are told with the time they took: what `quickstart`, `teardown` and `e2e` print."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.text import Text

_IN_PROGRESS = re.compile(
    r"^\s*@ |(creating|updating|deleting|refreshing|reading|refresh) \([\d.]+s\)$|^(Updating|Destroying) \("
)


class Steps:
    """Prints each step with the time it took.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Time a step; it says itself what came of it.

        Args:
            doing: What is being done, shown until it is.
        """
        result: list[str] = []
        started = perf_counter()
        with self._console.status(doing):
            yield result.append
        for line in result:
            self.done(line, perf_counter() - started)

    def done(self, line: str, seconds: float) -> None:
        """Print what was done, and how long it took."""
        mark = Text("✓ ", style="bold green")
        self._console.print(mark + Text(f"{line:<72}") + Text(f"{seconds:8.2f} s", style="cyan"))

    def note(self, line: str) -> None:
        """Print something that took no time of its own."""
        self._console.print(Text(f"  {line}"))

    def aside(self, line: str) -> None:
        """Print what a tool says, the lines apart that only tell of work in progress."""
        if _IN_PROGRESS.search(line):
            return
        self._console.print(Text(f"    {line}", style="dim"))
