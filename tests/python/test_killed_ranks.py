"""A rank that is killed: the others raise at once, and say which rank, where and when."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from support import lost_ranks
from support.forked_ranks import start_job

# Place of the killed rank, and what the others call the time in which they missed it: where
# it waits for nobody, that is what they are at themselves.
SAVE_PLACES = {
    "arrival": {"arrival", "plan"},
    "state": {"plan"},
    "plan sent": {"plan", "write"},
    "write": {"write"},
    "written": {"write"},
    "met": {"commit", "write"},
    "commit": {"commit"},
}
LOAD_PLACES = {
    "arrival": {"arrival", "plan"},
    "index": {"plan"},
    "state": {"plan"},
    "reading": {"read"},
    "read": {"read"},
    "met": {"read"},
}
COORDINATORS = {"commit", "index"}  # places that only rank 0 comes to

CASES = [
    (verb, place, killed, world_size)
    for verb, places in (("save", SAVE_PLACES), ("load", LOAD_PLACES))
    for place in places
    for killed, world_size in ((0, 2), (1, 2), (2, 4))
    if killed == 0 or place not in COORDINATORS
] + [("save", "write", 5, 8), ("save", "commit", 0, 8)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("verb", "place", "killed", "world_size"), CASES)
def test_every_survivor_raises_within_a_second(
    tmp_path: Path, verb: str, place: str, killed: int, world_size: int
) -> None:
    directory = tmp_path / "c"
    survivors = [rank for rank in range(world_size) if rank != killed]
    arguments = (directory, verb, place, [killed], False)
    with start_job(world_size, lost_ranks.save_twice, *arguments) as job:
        job.wait_for(f"at-gate-{killed}")
        killed_at = time.monotonic()
        os.kill(job.pids[killed], signal.SIGKILL)
        for rank in survivors:
            (ending,) = job.told(rank)
            assert ending.at - killed_at < 1.0
            assert ending.kind == "LostRankException"
            assert ending.is_runtime_error
            assert list(ending.failures) == [killed]
            message = ending.failures[killed]
            where = f"(host {socket.gethostname()}, process {job.pids[killed]})"
            assert f"rank {killed} {where} is gone: its process ended" in message
            phases = (SAVE_PLACES if verb == "save" else LOAD_PLACES)[place]
            assert message.partition("; phase: ")[2] in phases
            assert ending.left_behind == []
    assert lost_ranks.value_in(directory, world_size) == lost_ranks.OLD


@pytest.mark.timeout(120)
@pytest.mark.parametrize("killed", [0, 1])
def test_a_job_that_is_started_again_saves_over_what_a_kill_left(
    tmp_path: Path, killed: int
) -> None:
    directory = tmp_path / "c"
    arguments = (directory, "save", "written", [killed], False)
    with start_job(2, lost_ranks.save_twice, *arguments) as job:
        job.wait_for(f"at-gate-{killed}")
        os.kill(job.pids[killed], signal.SIGKILL)
        job.told(1 - killed)
    assert len(list(directory.glob(f"__{killed}_*"))) == 2  # one of them left behind
    with start_job(2, lost_ranks.save_new, directory) as job:
        assert [len(names) for names in job.all_told()] == [4, 4]
    assert lost_ranks.value_in(directory, 2) == lost_ranks.NEW


@pytest.mark.timeout(120)
def test_the_store_is_missed_before_the_ranks_have_ever_met(tmp_path: Path) -> None:
    with start_job(2, lost_ranks.save_when_rank_0_is_gone, tmp_path / "c") as job:
        for rank in range(2):
            job.wait_for(f"ready-{rank}")
        os.kill(job.pids[0], signal.SIGKILL)
        killed_at = time.monotonic()
        job.mark("gone")
        ending = job.told(1)
    assert ending.at - killed_at < 1.0
    assert "rank 0 is gone, and the group's Store with it" in ending.failures[0]
