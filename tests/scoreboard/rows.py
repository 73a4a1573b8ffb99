"""The rows of the reliability scoreboard, and the tests that show them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: as in the tests' tags and marks.
        part: of `make test-deep` that runs it.
        title: what is tried.
        target: what must hold.
        programs: C++ test programs with test cases that have the tag [name].
        fuzzers: fuzz programs, and how many inputs each gets.
        python: files of Python tests that have the mark row(name).
    """

    name: str
    part: str
    title: str
    target: str
    programs: tuple[str, ...] = ()
    fuzzers: tuple[tuple[str, int], ...] = ()
    python: tuple[str, ...] = ()


ROWS: tuple[Row, ...] = ()

PARTS: tuple[str, ...] = tuple(dict.fromkeys(row.part for row in ROWS))
