"""A rank that is stopped: the others raise at the deadline, and may go on once it is back."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import lost_ranks
from support.forked_ranks import start_job
from support.gates import LOAD_PLACES, SAVE_PLACES
from support.saving import SUFFIX
from support.scoreboard import IS_DEEP, ONE_SECOND, report, trials

DEADLINE = 2.0
ENVIRONMENT = {"DCPCPP_HEARTBEAT_TIMEOUT": str(DEADLINE)}

CASES = [
    ("save", "state", 1, 2),
    ("save", "plan sent", 1, 2),
    ("save", "write", 1, 2),
    ("save", "write", 0, 2),  # it serves the store as well
    ("save", "met", 2, 4),
    ("save", "commit", 0, 4),
    ("save", "written", 6, 8),
    ("save", "written", 0, 2),
    ("load", "reading", 1, 2),
    ("load", "index", 0, 2),
    ("load", "state", 2, 4),
    ("load", "met", 1, 2),
]
# A rank is missed from its arrival on, in the background: one that is stopped in its call, in a
# state_dict(), counts as late.
ASYNC_CASES = [
    ("async_save", "plan sent", 1, 2),
    ("async_save", "write", 0, 2),
    ("async_save", "write", 2, 4),
    ("async_save", "written", 1, 2),
    ("async_save", "commit", 0, 2),
]


@pytest.mark.row("R14")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("all_cases", "suffix"), [(CASES, ""), (ASYNC_CASES, SUFFIX["thread"])])
def test_all_raise_at_the_deadline_and_the_next_save_works(
    tmp_path: Path, all_cases: list[tuple[str, str, int, int]], suffix: str
) -> None:
    count = trials(quick=len(all_cases), deep=60)
    with ThreadPoolExecutor(4) as pool:  # which mostly wait
        cases = itertools.islice(itertools.cycle(all_cases), count)
        tries = [
            pool.submit(stop_a_rank, tmp_path / str(number), *case)
            for number, case in enumerate(cases)
        ]
        for tried in tries:
            tried.result()
    note = f"deadline set to {DEADLINE:.0f} s"
    what = "SIGSTOP of a rank in each phase" + suffix
    report("R14", what, count=count, bad=0, seed=0, note=note)


def stop_a_rank(directory: Path, verb: str, place: str, stopped: int, world_size: int) -> None:
    """Stops a rank in a save or load, and lets it go on when the others have given up."""
    others = [rank for rank in range(world_size) if rank != stopped]
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
    case = f"{verb}, {place}, rank {stopped} of {world_size}"
    for rank in others:
        ending, _ = told[rank]
        assert ending.at - stopped_at < DEADLINE + ONE_SECOND, case
        assert list(ending.failures) == [stopped], case
        where = f"rank {stopped} (host {socket.gethostname()}, process {job.pids[stopped]})"
        assert where in ending.failures[stopped], case
        phase = ending.failures[stopped].partition("; phase: ")[2]
        assert phase in (LOAD_PLACES if verb == "load" else SAVE_PLACES)[place], case
        assert ending.kind == "LostRankException", case
    ending, _ = told[stopped]
    # The others' word may still lie before the Store that this rank serves. If it is about
    # to publish, it does, and says so, which is true; the others said that they cannot know.
    is_published = place == "commit" and ending.kind == ""
    assert is_published or ending.kind == "LostRankException", case
    assert ending.at - continued_at < DEADLINE + ONE_SECOND, case
    assert [again.failures for _, again in told] == [{}] * world_size, case
    assert [again.left_behind for _, again in told] == [[]] * world_size, case
    assert lost_ranks.value_in(directory, world_size) == lost_ranks.NEW, case
    assert len(list(directory.iterdir())) == world_size + 2, case


@pytest.mark.skipif(not IS_DEEP, reason="stock torch is measured by `make test-deep`")
@pytest.mark.row("R14")
@pytest.mark.timeout(3600)
def test_stock_torch_waits_for_the_timeout_of_the_group(tmp_path: Path) -> None:
    timeout, late, unnamed = 10, 0, 0
    count = 12
    for number in range(count):
        place, stopped = [("write", 1), ("state", 1), ("commit", 0)][number % 3]
        arguments = (tmp_path / str(number), "save", place, [stopped], False, "stock")
        with start_job(2, lost_ranks.save_twice, *arguments, timeout=timeout) as job:
            job.wait_for(f"at-gate-{stopped}")
            os.kill(job.pids[stopped], signal.SIGSTOP)
            stopped_at = time.monotonic()
            (ending,) = job.told(1 - stopped)
            late += ending.at - stopped_at > DEADLINE + 1.0
            unnamed += str(job.pids[stopped]) not in str(ending.failures)
    note = (
        f"group's timeout {timeout} s (1,800 by default); after 3 s: {late}, not named: {unnamed}"
    )
    bad = max(late, unnamed)
    report(
        "R14",
        "SIGSTOP of a rank in each phase",
        count=count,
        bad=bad,
        seed=0,
        subject="stock",
        note=note,
    )


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
