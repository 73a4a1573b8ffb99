"""Many saves in one job take no more files, threads, memory or keys than a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import lost_ranks
from support.forked_ranks import start_job
from support.scoreboard import report, trials

WARM_UP = 20


@pytest.mark.row("R29")
@pytest.mark.timeout(3600)
def test_what_a_rank_holds_stays_constant(tmp_path: Path) -> None:
    count = trials(quick=60, deep=1000)
    with start_job(2, lost_ranks.soak, tmp_path / "c", count) as job:
        told = job.all_told(timeout=3000)
    notes = []
    for rank, figures in enumerate(told):
        files, threads, resident, keys = zip(*figures[WARM_UP:], strict=True)
        assert len(set(files)) == 1, f"rank {rank}: {files}"
        assert len(set(threads)) == 1, f"rank {rank}: {threads}"
        assert len(set(keys)) == 1, f"rank {rank}: {keys}"
        assert max(resident) <= 1.05 * resident[0], f"rank {rank}: {resident} KiB"
        notes.append(
            f"rank {rank}: {files[0]} files, {threads[0]} threads, "
            f"{resident[0] >> 10} to {max(resident) >> 10} MiB"
        )
    report("R29", "saves on 2 ranks", count=count, bad=0, seed=0, note="; ".join(notes))
