"""Processes that are killed at any moment of a save leave the old checkpoint or the new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from support.lost_ranks import NBYTES
from support.random_kills import FINE, RandomKills
from support.scoreboard import SUBJECTS, Subject, report, trials


def kill(row: str, folder: Path, world_sizes: Sequence[int], count: int, subject: Subject) -> None:
    """Try, report, and fail if it was ours and not all were fine."""
    seed = int(row[1:])
    nbytes = trials(quick=NBYTES, deep=16_000_000)
    outcomes = RandomKills(folder, world_sizes, subject, nbytes).run(count, seed)
    bad = sum(times for outcome, times in outcomes.items() if outcome not in FINE)
    note = ", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items()))
    what = "in flight, from Python" if row == "R2" else "all ranks, or one, in flight"
    report(row, what, count=count, bad=bad, seed=seed, subject=subject, note=note)
    assert bad == 0 or subject == "stock", note


@pytest.mark.row("R2")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_killed_process_leaves_old_or_new(tmp_path: Path, subject: Subject) -> None:
    kill("R2", tmp_path, [1], trials(quick=20, deep=2000), subject)


@pytest.mark.row("R3")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_killed_ranks_leave_old_or_new(tmp_path: Path, subject: Subject) -> None:
    deep = 2000 if subject == "dcpcpp" else 400
    kill("R3", tmp_path, [2, 3, 4], trials(quick=200, deep=deep), subject)
