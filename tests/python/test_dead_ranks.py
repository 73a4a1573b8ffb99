"""A rank that is killed, stopped or gives up does not leave the others waiting for ever."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support import faults

# Reads and writes through it wait until the file `go` is there.
GATED = """
import fsspec
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from dcpcpp import _presence
_presence.BEAT_SECONDS = _presence.LOOK_SECONDS = 0.2
_presence.LOST_AFTER_SECONDS = 3.0

class GatedFile(LocalFileOpener):
    def write(self, data):
        wait_at_gate()
        return super().write(data)

class Gated(LocalFileSystem):
    protocol = "gated"
    def _open(self, path, mode="rb", **kwargs):
        return GatedFile(path, mode, fs=self, **kwargs)
    def cat_file(self, path, start=None, end=None, **kwargs):
        if path.endswith(".distcp"):
            wait_at_gate()
        return super().cat_file(path, start, end, **kwargs)
    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("gated://"))

fsspec.register_implementation("gated", Gated)
waits = False

def wait_at_gate():
    if waits:
        (folder / f"at-gate-{rank}").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)

c = f"gated://{folder}/c"
start(60)
def state(value):
    return {f"own-{rank}": torch.full((70_000,), value)}
dcp.save(state(1.0), checkpoint_id=c)

def attempt(call):
    begun = time.monotonic()
    try:
        call()
    except dcp.CheckpointException as error:
        (failed, (cause, _)), = error.failures.items()
        tell(failed=failed, cause=str(cause), kind=type(cause).__name__,
             is_runtime_error=isinstance(error, RuntimeError),
             seconds=time.monotonic() - begun)
    else:
        tell(failed=None)
    os._exit(0)  # the group is broken: no orderly shutdown
"""

SAVE = "waits = rank == {waiting}\nattempt(lambda: dcp.save(state(2.0), checkpoint_id=c))\n"
LOAD = "waits = rank == {waiting}\nattempt(lambda: dcp.load(state(0.0), checkpoint_id=c))\n"


def wait_until(path: Path, ranks: faults.Ranks) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        ended = any(process.poll() is not None for process in ranks.processes)
        if ended or time.monotonic() > deadline:
            raise AssertionError(ranks.errors(0) + ranks.errors(1))
        time.sleep(0.02)


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("verb", "killed", "how"),
    [
        pytest.param(SAVE, 0, signal.SIGKILL, id="save, rank 0 killed"),
        pytest.param(SAVE, 1, signal.SIGKILL, id="save, rank 1 killed"),
        pytest.param(SAVE, 1, signal.SIGSTOP, id="save, rank 1 stopped"),
        pytest.param(LOAD, 1, signal.SIGKILL, id="load, rank 1 killed"),
    ],
)
def test_the_survivor_raises_and_names_the_rank(
    tmp_path: Path, verb: str, killed: int, how: signal.Signals
) -> None:
    ranks = faults.start_ranks(GATED + verb.format(waiting=killed), 2, tmp_path)
    survivor = 1 - killed
    try:
        wait_until(tmp_path / f"at-gate-{killed}", ranks)
        os.kill(ranks.processes[killed].pid, how)
        ranks.processes[survivor].wait(60)
    finally:
        for process in ranks.processes:
            process.kill()
    told = ranks.told(survivor)
    assert told["is_runtime_error"]
    assert told["seconds"] < 30
    if killed == 1:
        assert told["failed"] == 1
        assert "rank 1 is gone: no sign of life for 3 s (host" in told["cause"]
        assert f"process {ranks.processes[1].pid})" in told["cause"]
    else:  # the group's Store went with rank 0
        assert "lost its connection to the others" in told["cause"]


@pytest.mark.timeout(120)
def test_a_killed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    ranks = faults.start_ranks(GATED + SAVE.format(waiting=1), 2, tmp_path)
    try:
        wait_until(tmp_path / "at-gate-1", ranks)
    finally:
        for process in ranks.processes:
            process.kill()
            process.wait()
    script = """
    waits = False
    start()
    got = {f"own-{rank}": torch.zeros(70_000)}
    dcp.load(got, checkpoint_id=folder / "c")
    assert bool((got[f"own-{rank}"] == 1.0).all())
    """
    faults.run_ranks(script, 2, tmp_path)


@pytest.mark.timeout(120)
def test_a_rank_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    """Longer than the time after which a silent rank counts as gone."""
    script = GATED + SAVE.format(waiting=1)
    ranks = faults.start_ranks(script, 2, tmp_path)
    wait_until(tmp_path / "at-gate-1", ranks)
    time.sleep(5)
    (tmp_path / "go").touch()
    assert ranks.wait(60) == [0, 0]
    assert [ranks.told(rank)["failed"] for rank in range(2)] == [None, None]
