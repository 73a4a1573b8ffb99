"""A rank that is stopped: the others raise at the deadline, and may go on once it is back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support import lost_ranks
from support.forked_ranks import start_job

DEADLINE = 2.0
ENVIRONMENT = {"DCPCPP_HEARTBEAT_TIMEOUT": str(DEADLINE)}

CASES = [
    ("save", "state", 1, 2),
    ("save", "write", 1, 2),
    ("save", "write", 0, 2),  # it serves the store as well
    ("save", "met", 2, 4),
    ("save", "commit", 0, 4),
    ("save", "written", 6, 8),
    ("load", "reading", 1, 2),
    ("load", "index", 0, 2),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("verb", "place", "stopped", "world_size"), CASES)
def test_all_raise_at_the_deadline_and_the_next_save_works(
    tmp_path: Path, verb: str, place: str, stopped: int, world_size: int
) -> None:
    directory = tmp_path / "c"
    ranks = list(range(world_size))
    others = [rank for rank in ranks if rank != stopped]
    arguments = (directory, verb, place, [stopped], True)
    with start_job(world_size, lost_ranks.save_twice, *arguments, environment=ENVIRONMENT) as job:
        job.wait_for(f"at-gate-{stopped}")
        os.kill(job.pids[stopped], signal.SIGSTOP)
        stopped_at = time.monotonic()
        for rank in others:
            job.wait_for(f"ended-{rank}")
        os.kill(job.pids[stopped], signal.SIGCONT)
        continued_at = time.monotonic()
        job.mark("go")
        job.wait_for(f"ended-{stopped}")
        job.mark("again")
        told = job.all_told()
    for rank in others:
        ending, _ = told[rank]
        assert ending.at - stopped_at < DEADLINE + 1.0
        assert list(ending.failures) == [stopped]
        assert f"process {job.pids[stopped]}" in ending.failures[stopped]
        assert ending.kind == "LostRankException"
    ending, _ = told[stopped]
    assert ending.kind == "LostRankException"
    assert ending.at - continued_at < DEADLINE + 1.0
    assert [again.failures for _, again in told] == [{}] * world_size
    assert [again.left_behind for _, again in told] == [[]] * world_size
    assert lost_ranks.value_in(directory, world_size) == lost_ranks.NEW
    assert len(list(directory.iterdir())) == world_size + 2


@pytest.mark.timeout(120)
def test_a_rank_that_holds_the_gil_for_long_counts_as_hung(tmp_path: Path) -> None:
    arguments = (tmp_path / "c", 1)
    with start_job(2, lost_ranks.save_without_gil, *arguments, environment=ENVIRONMENT) as job:
        ending = job.told(0)
    assert "rank 1" in ending.failures[1]
    assert "no sign of life for 2 s" in ending.failures[1]


@pytest.mark.timeout(120)
def test_a_rank_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    """Longer than the time after which a silent rank counts as gone."""
    arguments = (tmp_path / "c", "save", "write", [1], False)
    with start_job(2, lost_ranks.save_twice, *arguments, environment=ENVIRONMENT) as job:
        job.wait_for("at-gate-1")
        time.sleep(DEADLINE + 1.5)
        job.mark("go")
        assert [ending.failures for (ending,) in job.all_told()] == [{}, {}]
    assert lost_ranks.value_in(tmp_path / "c", 2) == lost_ranks.NEW
