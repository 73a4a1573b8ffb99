"""Storage that does not answer: the save fails at the deadline, the process goes on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dcpcpp
from dcpcpp import _io_options
from support import async_ranks, faults
from support.forked_ranks import start_job
from support.hung_files import Hung, hung_files
from support.saving import SUFFIX, How, Way
from support.scoreboard import ONE_SECOND, report, within

_DEADLINE = 1.0
_URL = "hung://ckpt"


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hung]:
    """A file system in memory, with a checkpoint of 1.0, that is about to hang."""
    with hung_files() as files:
        dcpcpp.save(state_of(1.0), storage_writer=dcpcpp.FsspecWriter(_URL))
        monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", str(_DEADLINE))
        yield files


def state_of(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((1000,), value)}


def value_in_memory() -> float:
    state = state_of(0.0)
    dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader(_URL))
    return float(state["w"][0])


def save_and_train(way: Way, value: float, kept: list[float]) -> None:
    """Saves, and trains beside an async save; `kept`: how long it was kept from each step."""
    writer = dcpcpp.FsspecWriter(_URL)
    if way.how == "save":
        way.save(state_of(value), storage_writer=writer)
        return
    last = time.monotonic()
    future = way.begin(state_of(value), storage_writer=writer)
    while not future.done():
        now = time.monotonic()
        kept.append(now - last)
        last = now
        time.sleep(0.0005)
    future.result()


def save_when_it_has_returned(way: Way, value: float) -> None:
    """A write of `.metadata` that may still come keeps the next save out."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return save_and_train(way, value, [])
        except dcpcpp.CheckpointBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@pytest.mark.row("R15")
@pytest.mark.parametrize("how", ["save", "thread"])
@pytest.mark.parametrize("place", [".distcp", ".metadata"])
def test_a_write_that_hangs_becomes_an_error_and_the_next_save_works(
    hung: Hung, how: How, place: str
) -> None:
    way, kept = Way(how), []
    hung.hang(place)
    begin = time.monotonic()
    with pytest.raises(dcpcpp.CheckpointException, match="the storage does not answer") as caught:
        save_and_train(way, 2.0, kept)
    elapsed = time.monotonic() - begin
    assert _DEADLINE <= elapsed < _DEADLINE + ONE_SECOND
    blocked = max(kept, default=0.0)
    assert blocked < within(0.1)
    assert isinstance(caught.value.failures[0][0], TimeoutError)
    assert place in str(caught.value)
    assert value_in_memory() == 1.0
    if place == ".metadata":
        with pytest.raises(dcpcpp.CheckpointBusyError, match="another save is at work"):
            save_and_train(way, 2.5, [])
    hung.release()
    save_when_it_has_returned(way, 3.0)
    assert value_in_memory() == 3.0
    what = f"from Python: a write of a {place} file by fsspec hangs{SUFFIX[how]}"
    note = f"the training was kept for {blocked * 1000:.0f} ms" if blocked else ""
    report("R15", what, count=1, bad=0, seed=0, note=note)


@pytest.mark.row("R15")
@pytest.mark.timeout(120)
def test_the_futures_of_all_ranks_fail_at_the_deadline(tmp_path: Path) -> None:
    environment = {"DCPCPP_STORAGE_TIMEOUT": str(_DEADLINE)}
    with start_job(2, async_ranks.hang_on_one_rank, tmp_path, environment=environment) as job:
        told = job.all_told()
    for begun, ending, after in told:
        assert _DEADLINE <= ending.at - begun < _DEADLINE + ONE_SECOND
        assert "the storage does not answer" in ending.failures[1]
        assert after.failures == {}
    report("R15", "from Python: one of 2 ranks hangs, async saves", count=1, bad=0, seed=0)


PROGRAM = """
import time, torch, dcpcpp
from support.hung_files import hung_files

with hung_files() as files:
    files.hang(".distcp")
    writer = dcpcpp.FsspecWriter("hung://ckpt")
    dcpcpp.async_save({"w": torch.ones(1000)}, storage_writer=writer, no_dist=True)
    files.release = lambda: None  # it hangs until the process is gone
    print(time.monotonic(), flush=True)
"""


@pytest.mark.row("R15")
@pytest.mark.timeout(120)
def test_a_program_ends_whose_save_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", str(_DEADLINE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    done = faults.run_python(PROGRAM)
    ended = time.monotonic() - float(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "an asynchronous save failed" in done.stderr
    # The interpreter waits for what its threads do at the end, and takes its own time.
    assert ended < _DEADLINE + 2.0 + ONE_SECOND
    report("R15", "from Python: the end of a program, async saves", count=1, bad=0, seed=0)


def test_the_timeout_is_a_number_of_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _io_options.storage_timeout() == 300
    for good in ("0", "1", "86400", "2.5"):
        monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", good)
        assert _io_options.storage_timeout() == float(good)
    for bad in ("soon", "", "-1", "0.5", "86401", "nan", "inf"):
        monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", bad)
        with pytest.raises(ValueError, match="DCPCPP_STORAGE_TIMEOUT must be 0, or from 1 to"):
            dcpcpp.FileSystemWriter(tmp_path)
