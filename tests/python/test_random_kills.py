"""Processes that are killed at any moment of a save leave the old checkpoint or the new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from support.random_kills import FINE, RandomKills
from support.saving import ASYNC, NBYTES, SUFFIX, How, Way
from support.scoreboard import SUBJECTS, Subject, report, trials


def kill(row: str, folder: Path, world_sizes: Sequence[int], count: int, way: Way) -> None:
    """Try, report, and fail if it was ours and not all were fine."""
    seed = int(row[1:])
    outcomes = RandomKills(folder, world_sizes, way).run(count, seed)
    bad = sum(times for outcome, times in outcomes.items() if outcome not in FINE)
    note = ", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items()))
    what = "in flight, from Python" if row == "R2" else "all ranks, or one, in flight"
    if way.how == "process":
        what += "; the trainer, its saver or both"
    what += SUFFIX[way.how]
    report(row, what, count=count, bad=bad, seed=seed, subject=way.subject, note=note)
    assert bad == 0 or way.subject == "stock", note


def way_of(how: How, subject: Subject = "dcpcpp") -> Way:
    return Way(how, subject, trials(quick=NBYTES, deep=16_000_000))


@pytest.mark.row("R2")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_killed_process_leaves_old_or_new(tmp_path: Path, subject: Subject) -> None:
    kill("R2", tmp_path, [1], trials(quick=20, deep=2000), way_of("save", subject))


@pytest.mark.row("R2")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("how", ASYNC)
def test_a_process_killed_beside_its_training_leaves_old_or_new(tmp_path: Path, how: How) -> None:
    kill("R2", tmp_path, [1], trials(quick=3, deep=1000), way_of(how))


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_killed_ranks_leave_old_or_new(tmp_path: Path, subject: Subject) -> None:
    deep = 2000 if subject == "dcpcpp" else 400
    kill("R3", tmp_path, [2, 3, 4], trials(quick=200, deep=deep), way_of("save", subject))


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("how", ASYNC)
def test_ranks_killed_beside_their_training_leave_old_or_new(tmp_path: Path, how: How) -> None:
    kill("R3", tmp_path, [2, 3], trials(quick=10, deep=500), way_of(how))
