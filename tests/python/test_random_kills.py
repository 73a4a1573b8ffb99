"""Processes that are killed at any moment of a save leave the old checkpoint or the new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from support.formats import FORMATS, IN, Format
from support.random_kills import FINE, RandomKills
from support.saving import ASYNC, NBYTES, SUFFIX, How, Way
from support.scoreboard import IS_DEEP, SUBJECTS, Subject, report, trials

QUICK: dict[Format, int] = {"native": 20, "safetensors": 3}


def kill(row: str, folder: Path, world_sizes: Sequence[int], count: int, way: Way) -> None:
    """Try, report, and fail if it was ours and not all were fine."""
    seed = int(row[1:])
    outcomes = RandomKills(folder, world_sizes, way).run(count, seed)
    bad = sum(times for outcome, times in outcomes.items() if outcome not in FINE)
    note = ", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items()))
    what = "in flight, from Python" if row == "R2" else "all ranks, or one, in flight"
    if way.how == "process":
        what += "; the trainer, its saver or both"
    what += SUFFIX[way.how] + IN[way.file_format]
    report(row, what, count=count, bad=bad, seed=seed, subject=way.subject, note=note)
    assert bad == 0 or way.subject == "stock", note


def way_of(how: How, subject: Subject = "dcpcpp", file_format: Format = "native") -> Way:
    return Way(how, subject, trials(quick=NBYTES, deep=16_000_000), file_format)


@pytest.mark.row("R2")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_killed_process_leaves_old_or_new(
    tmp_path: Path, subject: Subject, file_format: Format
) -> None:
    count = trials(quick=QUICK[file_format], deep=2000)
    kill("R2", tmp_path, [1], count, way_of("save", subject, file_format))


@pytest.mark.row("R2")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("how", ASYNC)
@pytest.mark.parametrize("file_format", FORMATS if IS_DEEP else FORMATS[:1])
def test_a_process_killed_beside_its_training_leaves_old_or_new(
    tmp_path: Path, how: How, file_format: Format
) -> None:
    kill("R2", tmp_path, [1], trials(quick=3, deep=1000), way_of(how, file_format=file_format))


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_killed_ranks_leave_old_or_new(tmp_path: Path, subject: Subject) -> None:
    deep = 2000 if subject == "dcpcpp" else 400
    kill("R3", tmp_path, [2, 3, 4], trials(quick=200, deep=deep), way_of("save", subject))


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
def test_killed_ranks_leave_old_or_new_safetensors(tmp_path: Path) -> None:
    """All of them write one file. (Stock DCP lets one rank write all, which is R2.)"""
    way = way_of("save", file_format="safetensors")
    kill("R3", tmp_path, [2, 3, 4] if IS_DEEP else [2], trials(quick=5, deep=2000), way)


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("how", ASYNC)
def test_ranks_killed_beside_their_training_leave_old_or_new(tmp_path: Path, how: How) -> None:
    kill("R3", tmp_path, [2, 3], trials(quick=10, deep=500), way_of(how))
