"""A rank that is killed: the others raise at once, and say which rank, where and when."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch.distributed.checkpoint.api import CheckpointException

from support import lost_ranks
from support.forked_ranks import start_job
from support.gates import LOAD_PLACES, SAVE_PLACES
from support.saving import SUFFIX
from support.scoreboard import ONE_SECOND, SUBJECTS, Subject, report, trials

COORDINATORS = {"commit", "index"}  # places that only rank 0 comes to


@dataclass(frozen=True)
class Case:
    """`place` is where the rank `killed` is then (support.gates), in `verb` (save_twice)."""

    verb: str
    place: str
    killed: int
    world_size: int


CASES = [
    Case(verb, place, killed, world_size)
    for verb, places in (("save", SAVE_PLACES), ("load", LOAD_PLACES))
    for place in places
    for killed, world_size in ((0, 2), (1, 2), (2, 4))
    if killed == 0 or place not in COORDINATORS
] + [Case("save", "write", 5, 8), Case("save", "commit", 0, 8)]
ASYNC_CASES = [
    Case("async_save", place, killed, 2)
    for place in SAVE_PLACES
    for killed in (0, 1)
    if killed == 0 or place not in COORDINATORS
] + [Case("async_save", "write", 3, 4)]
# Stock torch can be stopped there as well.
STOCK_CASES = [
    case
    for case in CASES
    if case.verb == "save" and case.place in ("arrival", "state", "write", "commit")
]


@pytest.mark.row("R13")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_survivor_raises_within_a_second_and_names_the_dead_rank(
    tmp_path: Path, subject: Subject
) -> None:
    cases = CASES if subject == "dcpcpp" else STOCK_CASES
    kill_ranks(tmp_path, cases, "kill -9 of a rank in each phase", subject)


@pytest.mark.row("R13")
@pytest.mark.timeout(3600)
def test_so_does_every_survivors_async_save(tmp_path: Path) -> None:
    kill_ranks(tmp_path, ASYNC_CASES, "kill -9 of a rank in each phase" + SUFFIX["thread"])


def kill_ranks(tmp_path: Path, cases: list[Case], what: str, subject: Subject = "dcpcpp") -> None:
    """Try the cases in turns, report, and fail if it was ours and not all were fine."""
    # Stock torch often waits for its group's timeout.
    count = trials(quick=len(cases), deep=200 if subject == "dcpcpp" else 24)
    found = [
        kill_a_rank(tmp_path / str(number), case, subject)
        for number, case in enumerate(itertools.islice(itertools.cycle(cases), count))
    ]
    faults = collections.Counter(itertools.chain.from_iterable(found))
    note = ", ".join(f"{fault}: {times}" for fault, times in sorted(faults.items()))
    bad = sum(1 for faults in found if faults)
    report("R13", what, count=count, bad=bad, seed=0, subject=subject, note=note)
    failed = {cases[number % len(cases)]: faults for number, faults in enumerate(found) if faults}
    assert subject == "stock" or not failed


def kill_a_rank(directory: Path, case: Case, subject: Subject) -> set[str]:
    """What is wrong after a rank was killed in a save over a checkpoint, or in a load."""
    found = set()
    killed = case.killed
    arguments = (directory, case.verb, case.place, [killed], False, subject)
    with start_job(case.world_size, lost_ranks.save_twice, *arguments, timeout=30) as job:
        job.wait_for(f"at-gate-{killed}")
        killed_at = time.monotonic()
        os.kill(job.pids[killed], signal.SIGKILL)
        where = f"(host {socket.gethostname()}, process {job.pids[killed]})"
        for rank in set(range(case.world_size)) - {killed}:
            (ending,) = job.told(rank)
            if ending.at - killed_at >= ONE_SECOND:
                found.add("later than 1 s")
            if f"rank {killed} {where} is gone" not in ending.failures.get(killed, ""):
                found.add("not named")
            if subject == "dcpcpp":
                found |= faults_of_our_error(ending, case)
                found |= files_left_behind(directory, rank, case)
    try:
        if lost_ranks.value_in(directory, case.world_size, subject) != lost_ranks.OLD:
            found.add("not the old checkpoint")
    except (Exception, CheckpointException):
        found.add("unreadable")
    return found


def files_left_behind(directory: Path, rank: int, case: Case) -> set[str]:
    """Data files of a survivor beside that of the old checkpoint."""
    names = sorted(path.name for path in directory.glob(f"__{rank}_*"))
    # Its word is given, and it cannot know whether rank 0 has published.
    is_in_doubt = case.place in ("met", "commit")
    return set() if is_in_doubt or names == [f"__{rank}_0.distcp"] else {f"files {names}"}


def faults_of_our_error(ending: lost_ranks.Ending, case: Case) -> set[str]:
    found = set()
    if ending.kind != "LostRankException" or not ending.is_runtime_error:
        found.add(f"raised {ending.kind or 'nothing'}")
    if list(ending.failures) != [case.killed]:
        found.add(f"failures of {list(ending.failures)}")
    phases = (LOAD_PLACES if case.verb == "load" else SAVE_PLACES)[case.place]
    phase = ending.failures.get(case.killed, "").partition("; phase: ")[2]
    if phase not in phases:
        found.add(f"phase {phase}")
    if ending.left_behind:
        found.add(f"left behind: {ending.left_behind}")
    return found


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
    assert ending.at - killed_at < ONE_SECOND
    assert "rank 0 is gone, and the group's Store with it" in ending.failures[0]
