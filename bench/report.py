"""The table that a benchmark prints, and the file it leaves."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure beside what it is compared with.

    Args:
        name: Stable name of the figure.
        value: What was measured.
        unit: Unit of value and anchor.
        anchor: The limit or peer, measured in the same run; None when there is nothing to compare with.
        ratio: Value over anchor.
    """

    name: str
    value: float
    unit: str
    anchor: float | None = None
    ratio: float | None = None

    @classmethod
    def of(cls, name: str, value: float, unit: str, *, anchor: float | None = None) -> "Measurement":
        """Round to what can be believed and work the ratio out."""
        ratio = None if not anchor else round(value / anchor, 3)
        return cls(name, round(value, 4), unit, None if anchor is None else round(anchor, 4), ratio)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def show(title: str, measurements: Sequence[Measurement]) -> None:
    """Print measurements as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("name")
    for column in ("value", "unit", "anchor", "ratio"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for item in measurements:
        figures = ("" if figure is None else f"{figure:g}" for figure in (item.anchor, item.ratio))
        table.add_row(item.name, f"{item.value:g}", item.unit, *figures)
    Console().print(table)


def save(measurements: Sequence[Measurement]) -> None:
    """Put measurements into the results file; figures of other sections stay."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {item.name: asdict(item) for item in measurements}
    merged = {item["name"]: item for item in kept} | new
    RESULTS.write_text(json.dumps([merged[name] for name in sorted(merged)], indent=2) + "\n")
