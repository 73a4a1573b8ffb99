"""Children that a rank forks while its async save runs, as a DataLoader does, and what they do."""

from __future__ import annotations

import collections
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.staging import StagingOptions
from torch.utils.data import DataLoader, Dataset

import dcpcpp
from support.forked_ranks import Rank
from support.lost_ranks import names, state_of
from support.saving import Way

_CHILD_SECONDS = 30.0
_IN_BACKGROUND = StagingOptions(False, False, True, False)


@dataclass(frozen=True)
class Parent:
    """What a child finds of its parent.

    Attributes:
        rank: its rank.
        way: of its saves.
        response: of the save that runs.
        stager: of that.
        earlier: a checkpoint.
        own: a place for the child's own one.
    """

    rank: int
    way: Way
    response: Any
    stager: dcpcpp.DefaultStager
    earlier: Path
    own: Path


def _small() -> dict[str, Any]:
    return {"n": torch.full((9,), 5.0)}


def _check_small(path: Path) -> None:
    state = {"n": torch.zeros(9)}
    dcpcpp.load(state, checkpoint_id=path, no_dist=True)
    assert state["n"].tolist() == [5.0] * 9


def _exit(parent: Parent) -> None:
    os._exit(0)


def _execute(parent: Parent) -> None:
    os.execv("/bin/true", ["true"])


def _save_alone(parent: Parent) -> None:
    dcpcpp.save(_small(), checkpoint_id=parent.own, no_dist=True)
    _check_small(parent.own)


def _save_alone_in_background(parent: Parent) -> None:
    parent.way.save(_small(), checkpoint_id=parent.own, no_dist=True)
    assert dcpcpp.flush(10)
    _check_small(parent.own)


def _load_alone(parent: Parent) -> None:
    state = state_of(parent.rank, 0.0, parent.way.nbytes)
    dcpcpp.load(state, checkpoint_id=parent.earlier, no_dist=True)


def _wait_for_nothing(parent: Parent) -> None:
    """None of these saves runs here."""
    assert dcpcpp.flush(10)
    with dcpcpp.fence():
        pass
    parent.stager.close()


def _take_part(parent: Parent) -> None:
    for call in (
        lambda: dcpcpp.save(_small(), checkpoint_id=parent.own),
        lambda: dcpcpp.load(_small(), checkpoint_id=parent.earlier),
        lambda: parent.way.save(_small(), checkpoint_id=parent.own),
    ):
        _must_raise("forked from a rank", call)


def _ask_for_the_parents_save(parent: Parent) -> None:
    """Nobody ends it here; unless it had ended before the fork."""
    upload, staging = parent.response.upload_completion, parent.response.staging_completion
    calls = {
        upload: [upload.result, upload.exception],
        staging: [staging.result, staging.exception, parent.response.wait_staged],
    }
    for future, ways in calls.items():
        for call in ways:
            if future.done():
                call()
            else:
                _must_raise("before it forked", call)


def _must_raise(words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match=words):
        call()


# What a child does.
DEEDS: dict[str, Callable[[Parent], None]] = {
    "exits": _exit,
    "executes another program": _execute,
    "saves alone": _save_alone,
    "saves alone in the background": _save_alone_in_background,
    "loads alone": _load_alone,
    "waits": _wait_for_nothing,
    "takes part": _take_part,
    "asks for the parent's save": _ask_for_the_parents_save,
}


class _Samples(Dataset[torch.Tensor]):
    """Each is read from a checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        _check_small(self._path)
        return torch.tensor(index)


def fork_beside_saves(
    me: Rank, directory: Path, way: Way, count: int, seed: int
) -> collections.Counter[str]:
    """What was done by children, or what was wrong with them or with the parent's save."""
    draw = random.Random(seed + me.rank)
    outcomes: collections.Counter[str] = collections.Counter()
    samples = directory / f"samples-{me.rank}"
    dcpcpp.save(_small(), checkpoint_id=samples, no_dist=True)
    deeds = [*DEEDS, "DataLoader"]
    begun = time.monotonic()
    way.save(state_of(me.rank, 0.0, way.nbytes), checkpoint_id=directory / "first")
    seconds = time.monotonic() - begun
    for number in range(1, count + 1):
        deed = deeds[number % len(deeds)]
        stager = dcpcpp.DefaultStager(_IN_BACKGROUND)
        state = state_of(me.rank, float(number), way.nbytes)
        path = directory / f"next-{number % 2}"
        response = way.respond(state, checkpoint_id=path, async_stager=stager)
        time.sleep(draw.uniform(0.0, seconds))
        own = directory / f"own-{me.rank}-{number}"
        parent = Parent(me.rank, way, response, stager, directory / "first", own)
        wrong = _load_data(samples) if deed == "DataLoader" else _fork(DEEDS[deed], parent)
        response.upload_completion.result()
        if not wrong and not _holds(path, me, float(number), way):
            wrong = "the parent's checkpoint is wrong"
        outcomes[f"{deed}: {wrong}" if wrong else deed] += 1
        stager.close()
    return outcomes


def _load_data(samples: Path) -> str:
    # The process that makes ranks is a daemon, which may have no children.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    loader = DataLoader(_Samples(samples), num_workers=1, multiprocessing_context="fork")
    found = sorted(int(each) for each in loader)
    return "" if found == [0, 1, 2, 3] else f"samples {found}"


def _fork(deed: Callable[[Parent], None], parent: Parent) -> str:
    """What was wrong with a child that does `deed`."""
    errors = parent.own.with_name(f"{parent.own.name}.stderr")
    pid = os.fork()
    if pid == 0:
        _be_child(deed, parent, errors)
    deadline = time.monotonic() + _CHILD_SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"hung\n{errors.read_text()}"
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(ended[1])
    return "" if code == 0 else f"ended with {code}\n{errors.read_text()}"


def _be_child(deed: Callable[[Parent], None], parent: Parent, errors: Path) -> None:
    try:
        stderr = errors.open("w")
        os.dup2(stderr.fileno(), 2)
        faulthandler.dump_traceback_later(_CHILD_SECONDS - 5)
        deed(parent)
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


def _holds(path: Path, me: Rank, value: float, way: Way) -> bool:
    if me.rank != 0:
        return True
    state = {name: torch.zeros(way.nbytes // 4) for name in names(me.world_size)}
    dcpcpp.load(state, checkpoint_id=path, no_dist=True)
    return all(bool((tensor == value).all()) for tensor in state.values())
