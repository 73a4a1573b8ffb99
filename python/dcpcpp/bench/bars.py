"""What is asked for of a measure, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass
class Measured:
    """A measure, with a value per repeat.

    Attributes:
        values: in `unit`.
        bar: what is asked for of the median; None: nothing.
        is_floor: whether it must be reached rather than not exceeded.
    """

    measure: str
    unit: str
    values: list[float]
    bar: float | None = None
    is_floor: bool = False

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool | None:
        """Whether the median is within the bar; None without one."""
        if self.bar is None:
            return None
        return self.median >= self.bar if self.is_floor else self.median <= self.bar


def print_measured(found: Sequence[Measured], title: str, console: Console) -> None:
    """One table, with the bars."""
    table = Table(title=title)
    table.add_column("measure")
    for column in ("min", "median", "max", "", "bar", "held"):
        table.add_column(column, justify="left" if column == "" else "right")
    for one in found:
        bar = "" if one.bar is None else f"{'≥' if one.is_floor else '≤'} {one.bar:g}"
        held = "" if one.holds is None else ("yes" if one.holds else "NO")
        spread = (min(one.values), one.median, max(one.values))
        table.add_row(one.measure, *(f"{value:.3f}" for value in spread), one.unit, bar, held)
    console.print(table)


__all__ = ["Measured", "print_measured"]
