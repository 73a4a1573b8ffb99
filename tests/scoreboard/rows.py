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
        scripts: Python programs that try and report by themselves.
    """

    name: str
    part: str
    title: str
    target: str
    programs: tuple[str, ...] = ()
    fuzzers: tuple[tuple[str, int], ...] = ()
    python: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


ROWS: tuple[Row, ...] = (
    Row(
        "R1",
        "kills",
        "the process ends at a system call",
        "every call, before and after: old or new",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R2",
        "kills",
        "kill -9 at a random moment",
        "10,000 kills in flight: old or new",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R4",
        "power",
        "simulated power cut; any unsynced writes and names may be lost",
        "100,000 disks: old or new, and new once the save has returned",
        programs=("dcp_checkpoint_test",),
    ),
    Row(
        "R5",
        "power",
        "power cut of a real ext4",
        "200 after and 200 during a save: nothing that was reported is lost",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R6",
        "errors",
        "system calls fail",
        "every call x errno, once and always: no false OK, no hang, no vague error, old kept",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R8",
        "errors",
        "full disk",
        "old kept, nothing left, the message says what is needed and free",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R12",
        "ranks",
        "concurrent writers",
        "1,000 races: one wins whole, the others get CheckpointBusyError",
        programs=("dcp_checkpoint_test",),
    ),
    Row(
        "R24",
        "sanitizers",
        "all C++ tests with sanitizers",
        "ASan with UBSan, and TSan: no report, no suppression",
        scripts=("tests/scoreboard/sanitizers.py",),
    ),
    Row(
        "R25",
        "io",
        "io_uring, openat2, direct I/O or locked memory forbidden",
        "the same bytes, the same results, one line in the log",
        programs=("dcp_io_test", "dcp_io_restricted_test", "dcp_restricted_saves_test"),
        python=("tests/python/test_io_fallback.py",),
    ),
    Row(
        "R26",
        "io",
        "short, refused and reordered transfers",
        "10,000 schedules: the bytes are identical",
        programs=("dcp_io_test",),
    ),
    Row(
        "R28",
        "ranks",
        "simulated ranks and network",
        "100,000 seeds: a save that returned OK is there, and the next save works",
        programs=("dcp_reliability_test",),
    ),
)

PARTS: tuple[str, ...] = tuple(dict.fromkeys(row.part for row in ROWS))
