"""Ctrl-C ends a save or load promptly, on all ranks, and the next one works."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from support import interrupts, lost_ranks
from support.forked_ranks import start_job
from support.scoreboard import ONE_SECOND

# Where the interrupted rank is; then what is in the directory.
CASES = [
    ("save", "state", 1, {lost_ranks.OLD}),
    ("save", "write", 0, {lost_ranks.OLD}),
    ("save", "write", 1, {lost_ranks.OLD}),
    ("save", "met", 1, {lost_ranks.OLD}),
    ("save", "commit", 0, {lost_ranks.OLD, lost_ranks.NEW}),
    ("load", "state", 1, {lost_ranks.OLD}),
    ("load", "reading", 1, {lost_ranks.OLD}),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("verb", "place", "interrupted", "values"), CASES)
def test_one_rank_is_interrupted_and_all_end(
    tmp_path: Path, verb: str, place: str, interrupted: int, values: set[float]
) -> None:
    directory = tmp_path / "c"
    arguments = (directory, verb, place, [interrupted], True)
    with start_job(2, lost_ranks.save_twice, *arguments) as job:
        job.wait_for(f"at-gate-{interrupted}")
        os.kill(job.pids[interrupted], signal.SIGINT)
        interrupted_at = time.monotonic()
        if place in ("reading", "write", "commit"):  # in a thread, which is waited for
            job.mark("go")
        for rank in range(2):
            job.wait_for(f"ended-{rank}")
        value = lost_ranks.value_in(directory, 2)
        assert value in values
        job.mark("again")
        told = job.all_told()
    ending, again = told[interrupted]
    assert ending.kind == "KeyboardInterrupt"
    assert ending.at - interrupted_at < ONE_SECOND
    assert again.failures == {}
    assert again.left_behind == []
    ending, again = told[1 - interrupted]
    if place == "commit":  # which may be done before the interrupt is seen
        assert ending.failures == {}
        assert value == lost_ranks.NEW
    else:
        assert "gave up: KeyboardInterrupt" in ending.failures[interrupted]
    assert ending.at - interrupted_at < ONE_SECOND
    assert again.failures == {}
    assert lost_ranks.value_in(directory, 2) == lost_ranks.NEW
    assert len(list(directory.iterdir())) == 4


@pytest.mark.timeout(120)
def test_a_rank_that_waits_for_the_others_is_interrupted(tmp_path: Path) -> None:
    arguments = (tmp_path / "c", "save", "write", [1], True)
    with start_job(2, lost_ranks.save_twice, *arguments) as job:
        job.wait_for("at-gate-1")
        os.kill(job.pids[0], signal.SIGINT)
        interrupted_at = time.monotonic()
        job.wait_for("ended-0")
        job.mark("go")
        job.wait_for("ended-1")
        job.mark("again")
        (first, again), (other, _) = job.all_told()
    assert first.kind == "KeyboardInterrupt"
    assert first.at - interrupted_at < ONE_SECOND
    assert "gave up: KeyboardInterrupt" in other.failures[0]
    assert again.failures == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_large_saves_and_loads_are_interrupted_in_the_middle(
    tmp_path: Path, world_size: int, compression: str | None
) -> None:
    """All ranks at once, as from a terminal, at random moments of bulk I/O."""
    draw = random.Random(world_size)
    arguments = (tmp_path / "c", 6, compression)
    in_the_middle = 0
    with start_job(world_size, interrupts.save_and_load_large, *arguments) as job:
        for number in range(6):
            for rank in range(world_size):
                job.wait_for(f"begin-{number}-{rank}")
            time.sleep(draw.uniform(0.0, 0.15))
            interrupted_at = time.monotonic()
            for pid in job.pids:
                os.kill(pid, signal.SIGINT)
            for rank in range(world_size):
                job.wait_for(f"end-{number}-{rank}")
            in_the_middle += time.monotonic() - interrupted_at < ONE_SECOND
            job.mark(f"next-{number}")
        told = job.all_told()
    assert in_the_middle == 6
    for steps in told:
        assert steps == ["KeyboardInterrupt"] * 6


@pytest.mark.timeout(120)
def test_a_rank_that_dies_ends_the_bulk_io_of_the_others(tmp_path: Path) -> None:
    """Which are not waiting for anybody, but writing through a slow file system."""
    with start_job(2, interrupts.save_slowly, tmp_path / "c") as job:
        job.wait_for("writing")
        os.kill(job.pids[1], signal.SIGKILL)
        killed_at = time.monotonic()
        ending = job.told(0)
    assert ending.at - killed_at < ONE_SECOND
    assert "is gone: its process ended; phase: write" in ending.failures[1]
