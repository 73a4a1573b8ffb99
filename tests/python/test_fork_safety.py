"""Forks beside async saves: the parent's checkpoint is right, and no child is left in the dark."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from support.forked_children import DEEDS, fork_beside_saves
from support.forked_ranks import start_job
from support.saving import ASYNC, NBYTES, SUFFIX, How, Way
from support.scoreboard import report, trials

SEED = 27


@pytest.mark.row("R27")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", ASYNC)
def test_a_child_that_is_forked_beside_a_save(tmp_path: Path, how: How) -> None:
    deep = {"thread": 300, "process": 200}[how] // 2
    count = trials(quick=deep // 10, deep=deep)  # on each of two ranks
    way = Way(how, nbytes=trials(quick=NBYTES, deep=16_000_000))
    with start_job(2, fork_beside_saves, tmp_path, way, count, SEED) as job:
        outcomes = sum(job.all_told(timeout=3000), collections.Counter())
    fine = {*DEEDS, "DataLoader"}
    wrong = {outcome for outcome in outcomes if outcome not in fine}
    note = ", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items()))
    bad = sum(outcomes[outcome] for outcome in wrong)
    what = "fork at a random moment, 2 ranks" + SUFFIX[how]
    report("R27", what, count=outcomes.total(), bad=bad, seed=SEED, note=note)
    assert not wrong
