"""Async saves that fail while nobody looks, in every way that the ranks can make them fail."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed.checkpoint.staging import StagingOptions

import dcpcpp
from support.forked_ranks import Rank
from support.lost_ranks import NEW, state_of, value_in
from support.saving import Way, saver_process
from support.scoreboard import ONE_SECOND

Kind = Literal["write", "disk", "commit", "data"]
# What every rank's error must say.
KINDS: dict[Kind, str] = {
    "write": "File too large",
    "disk": "No space left",
    "commit": "Is a directory",
    "data": "no state on the last rank",
}
DISK_NBYTES = 2 << 20
_LARGE = 4 << 20  # bytes of a tensor that the disk has no room for
_IN_BACKGROUND = StagingOptions(False, False, True, False)


@dataclass(frozen=True)
class Failure:
    """One trial.

    Attributes:
        kind: what goes wrong.
        call: what the ranks do next: it must raise that on each of them.
    """

    kind: Kind
    call: str


CALLS: dict[str, Callable[[dict[str, Any], Path, Way, Future[Any]], Any]] = {
    "async_save": lambda state, path, way, _: way.begin(state, checkpoint_id=path).result(),
    "save": lambda state, path, way, _: dcpcpp.save(state, checkpoint_id=path),
    "result": lambda state, path, way, failed: failed.result(),
    "flush": lambda state, path, way, _: dcpcpp.flush(),
    "close": lambda state, path, way, _: dcpcpp.DefaultStager(_IN_BACKGROUND).close(),
}


def all_failures(kinds: list[Kind]) -> list[Failure]:
    """Each kind, and each call that may tell of it."""
    return [Failure(kind, call) for kind, call in itertools.product(kinds, CALLS)]


class _Log:
    """When the first line came that tells of a failed save, and what it said."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self.at = 0.0
        self.text = ""
        handler = logging.Handler()
        handler.emit = self._emit  # type: ignore[method-assign]
        logging.getLogger("dcpcpp").addHandler(handler)

    def _emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR and not self._came.is_set():
            self.at, self.text = time.monotonic(), record.getMessage()
            self._came.set()

    def clear(self) -> None:
        self._came.clear()

    def wait(self) -> bool:
        return self._came.wait(60)


class Unpicklable:
    def __reduce__(self) -> str:
        raise LookupError("no state on the last rank")


def fail_unseen(
    me: Rank, folder: Path, disk: Path | None, way: Way, failures: list[Failure]
) -> list[str]:
    """What was wrong with how this rank learned of each failure; empty if nothing was.

    Args:
        me: this rank.
        folder: for checkpoints.
        disk: a file system of DISK_NBYTES, if there is one.
        way: of the saves.
        failures: to be tried.
    """
    log = _Log()
    way.save(state_of(me.rank, 0.0), checkpoint_id=folder / "first")
    found = []
    for number, failure in enumerate(failures):
        directory = (disk if failure.kind == "disk" and disk else folder) / str(number)
        found.append(_try(me, failure, way, directory, log))
        dist.barrier()
    return found


def _try(me: Rank, failure: Failure, way: Way, directory: Path, log: _Log) -> str:
    log.clear()
    begun = time.monotonic()
    with _made_to_fail(me, failure.kind, way, directory) as (state, options):
        future = way.begin(state, checkpoint_id=directory, **options)
        if not log.wait():
            return "not logged"
    if KINDS[failure.kind] not in log.text:
        return f"logged as {log.text}"
    if log.at - begun > ONE_SECOND:
        return f"logged after {log.at - begun:.1f} s"
    after = directory.with_name(f"{directory.name}-after")
    if failure.kind == "disk":
        after = me.folder / after.name
    state = state_of(me.rank, NEW)
    text = _error_of(lambda: CALLS[failure.call](state, after, way, future))
    if KINDS[failure.kind] not in text:
        return f"{failure.call} raised {text or 'nothing'}"
    text = _error_of(lambda: way.save(state, checkpoint_id=after))
    if text:
        return f"after {failure.call} the next save failed: {text}"
    return "" if value_in(after, me.world_size) == NEW else "the next save is not there"


def _error_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return str(error) or repr(error)
    return ""


@contextlib.contextmanager
def _made_to_fail(
    me: Rank, kind: Kind, way: Way, directory: Path
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The state of a save that fails, and its options; for all ranks together."""
    state = state_of(me.rank, NEW)
    options: dict[str, Any] = {}
    is_last = me.rank == me.world_size - 1
    if kind == "disk":
        state = state_of(me.rank, NEW, _LARGE)
    elif kind == "data":
        # With the other stager the call raises it.
        options["async_stager"] = dcpcpp.DefaultStager(_IN_BACKGROUND)
        state |= {"object": Unpicklable()} if is_last else {}
    elif kind == "commit" and me.rank == 0:
        (directory / ".metadata").mkdir(parents=True)
    dist.barrier()
    with _small_files(way) if kind == "write" and is_last else contextlib.nullcontext():
        yield state, options


@contextlib.contextmanager
def _small_files(way: Way) -> Iterator[None]:
    """Whoever saves for this rank may write files of 4 KiB at most."""
    process = saver_process() if way.how == "process" else os.getpid()
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)
