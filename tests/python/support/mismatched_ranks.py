"""What the ranks do in the tests of ranks that do not call for the same."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

import dcpcpp
from dcpcpp._group import group_of
from dcpcpp._processes import Process
from support.forked_ranks import Rank
from support.lost_ranks import NEW, OLD, Ending, attempt, state_of

Endings = dict[str, tuple[float, Ending]]  # seconds that a call took, and how it ended


def _timed(call: Callable[[], Any]) -> tuple[float, Ending]:
    begun = time.monotonic()
    ending = attempt(call)
    return ending.at - begun, ending


def differ(me: Rank, folder: Path) -> Endings:
    """Calls that differ between the ranks; after each of them, one that does not."""
    is_first = me.rank == 0
    state = state_of(me.rank, OLD)
    own = folder / f"own-{me.rank}"

    def save(directory: Path, **options: Any) -> None:
        dcpcpp.save(state, checkpoint_id=directory, **options)

    save(folder / "c")
    calls: dict[str, Callable[[], Any]] = {
        "kind": lambda: (save if is_first else _load_into(state))(folder / "c"),
        "mode": lambda: save(folder / "mode", use_collectives=not is_first),
        "place": lambda: save(own),
        "asynchronous": lambda: dcpcpp.async_save(state, checkpoint_id=own).result(),
        "load": lambda: _load_into(state)(folder / "c" if is_first else own),
        "no storage": lambda: save("nosuch://x" if is_first else own),
        "each alone": lambda: save(own, use_collectives=False),
    }
    endings = {}
    for name, call in calls.items():
        endings[name] = _timed(call)
        endings[f"after {name}"] = _timed(lambda: save(folder / "c"))
    return endings


def _load_into(state: dict[str, Any]) -> Callable[[Path], None]:
    return lambda directory: dcpcpp.load(state, checkpoint_id=directory)


class _WatchedLock:
    """A lock that tells when a thread finds it taken."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.was_taken = threading.Event()

    def acquire(self, blocking: bool = True) -> bool:
        got: bool = self._lock.acquire(blocking)
        if not got:
            self.was_taken.set()
        return got

    def release(self) -> None:
        self._lock.release()


def save_from_two_threads(me: Rank, folder: Path) -> list[Ending]:
    """Rank 1 saves from two threads at once, rank 0 one after the other; then one more."""
    state = state_of(me.rank, NEW)
    dcpcpp.save(state, checkpoint_id=folder / "c")
    if me.rank == 0:
        return [attempt(lambda: dcpcpp.save(state, checkpoint_id=folder / "c")) for _ in range(3)]
    group = group_of(dist.group.WORLD, "foreground")
    lock = group.turn = _WatchedLock(group.turn)
    has_begun = threading.Event()

    class Slow:
        def state_dict(self) -> dict[str, Any]:
            has_begun.set()
            lock.was_taken.wait()
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    endings: list[Ending] = []
    slow = threading.Thread(
        target=lambda: endings.append(
            attempt(lambda: dcpcpp.save({**state, "s": Slow()}, checkpoint_id=folder / "c"))
        )
    )
    slow.start()
    has_begun.wait()
    refused = attempt(lambda: dcpcpp.save(state, checkpoint_id=folder / "c"))
    slow.join()
    return [*endings, refused, attempt(lambda: dcpcpp.save(state, checkpoint_id=folder / "c"))]


def save_on_two_hosts(me: Rank, folder: Path) -> tuple[list[Ending], list[str]]:
    """Each rank on a host of its own, with a directory of its own; and the log's lines."""
    process = Process.current()
    here = dataclasses.replace(process, host=f"host-{me.rank}", machine=f"machine-{me.rank}")
    Process.current = classmethod(lambda cls: here)  # type: ignore[method-assign,assignment]
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("dcpcpp").addHandler(handler)
    directory = folder / f"disk-{me.rank}"
    state = state_of(me.rank, OLD)
    endings = [
        attempt(lambda: dcpcpp.save(state, checkpoint_id=directory / "0")),
        attempt(lambda: dcpcpp.save(state, checkpoint_id=directory / "1")),
    ]
    return endings, lines


def fail_in_a_subgroup(me: Rank, folder: Path) -> list[str]:
    """The texts of errors in the group of ranks 1 and 2."""
    group = dist.new_group([1, 2], backend="gloo")
    if me.rank == 0:
        return []
    state: dict[str, Any] = state_of(me.rank, OLD)

    def text_of(call: Callable[[], Any]) -> str:
        with pytest.raises(dcpcpp.CheckpointException) as caught:
            call()
        assert list(caught.value.failures) == [1]
        return str(caught.value)

    unpicklable = state | ({"f": lambda: 1} if me.rank == 2 else {})
    there = folder / f"c-{me.rank}"
    return [
        text_of(lambda: dcpcpp.save(unpicklable, checkpoint_id=folder / "c", process_group=group)),
        text_of(lambda: dcpcpp.save(state, checkpoint_id=there, process_group=group)),
    ]
