"""A saver that is killed or stopped: all ranks raise and name it, and the next save works."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import lost_ranks, process_saves
from support.forked_ranks import start_job
from support.scoreboard import ONE_SECOND, report, trials

DEADLINE = 2.0
ENVIRONMENT = {"DCPCPP_HEARTBEAT_TIMEOUT": str(DEADLINE)}


def lose(folder: Path, number: signal.Signals, count: int, patience: float) -> None:
    arguments = (folder / "c", int(number), count)
    with start_job(2, process_saves.lose_savers, *arguments, environment=ENVIRONMENT) as job:
        told = job.all_told(timeout=1500)
    for trials_of_rank in told:
        for trial, killed in zip(trials_of_rank, told[1], strict=True):
            assert trial.lost.kind == "LostRankException"
            assert "rank 1 is gone" in trial.lost.failures[1]
            assert trial.lost.at - killed.at < patience
            assert trial.value == lost_ranks.OLD
            assert trial.after.kind == ""


@pytest.mark.row("R13")
@pytest.mark.timeout(1800)
def test_a_saver_that_is_killed_is_named_on_all_ranks_within_a_second(tmp_path: Path) -> None:
    count = trials(quick=4, deep=100)
    lose(tmp_path, signal.SIGKILL, count, ONE_SECOND)
    report("R13", "kill -9 of one of 2 ranks' savers as it writes", count=count, bad=0, seed=0)


@pytest.mark.row("R14")
@pytest.mark.timeout(1800)
def test_a_saver_that_is_stopped_is_named_on_all_ranks_at_the_deadline(tmp_path: Path) -> None:
    count = trials(quick=1, deep=20)
    lose(tmp_path, signal.SIGSTOP, count, DEADLINE + ONE_SECOND)
    note = f"deadline set to {DEADLINE:.0f} s"
    report("R14", "SIGSTOP of a saver as it writes", count=count, bad=0, seed=0, note=note)
