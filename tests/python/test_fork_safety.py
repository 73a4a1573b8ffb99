"""Forks beside async saves: the parent's checkpoint is right, and no child is left in the dark."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcpcpp
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


def exit_beside_saves(directory: Path) -> int:
    """Forks beside a save whose thread an earlier error still knows; the child's exit status."""
    (directory / "file").touch()
    try:
        dcpcpp.async_save({"w": torch.ones(10)}, checkpoint_id=directory / "file").result()
    except dcpcpp.CheckpointException as error:
        kept = error  # its traceback leads to the thread, and so to what comes next
    writer = dcpcpp.FileSystemWriter(directory / "slow", max_write_rate=2e5)
    save = dcpcpp.async_save({"w": torch.ones(30_000)}, storage_writer=writer)
    pid = os.fork()
    if pid == 0:
        dcpcpp.save({"w": torch.ones(3)}, checkpoint_id=directory / "child", no_dist=True)
        sys.exit(0)  # by the interpreter's end, which destroys what it finds
    _, status = os.waitpid(pid, 0)
    save.result()
    assert kept is not None
    return status


def test_a_child_that_ends_like_a_program_does_not_crash(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, test_fork_safety as t\n"
        "status = t.exit_beside_saves(pathlib.Path(sys.argv[1]))\n"
        "print(status)"
    )
    where = os.pathsep.join(path for path in sys.path if path)
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "0", run.stderr
