"""What the ranks do in the tests of ranks that are killed or stopped."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

import dcpcpp
from dcpcpp import _arrival
from support import formats
from support.forked_ranks import Rank
from support.formats import LIBRARIES, Format
from support.gates import Gate
from support.saving import NBYTES, Way, saver_process
from support.scoreboard import Subject

OLD, NEW = 1.0, 2.0


@dataclass(frozen=True)
class Ending:
    """How a call ended on a rank.

    Attributes:
        at: when, by the monotonic clock, which is the same in all processes.
        failures: rank -> text of its error; empty if the call returned, or if the error
            named no rank, as those of torch do not.
        kind: the class of what it raised.
        is_runtime_error: whether that is a RuntimeError, which torch raises then.
        left_behind: threads, open files and locks that were not there before.
    """

    at: float
    failures: dict[int, str] = field(default_factory=dict)
    kind: str = ""
    is_runtime_error: bool = False
    left_behind: list[str] = field(default_factory=list)


def state_of(rank: int, value: float, nbytes: int = NBYTES) -> dict[str, Any]:
    return {
        f"own-{rank}": torch.full((nbytes // 4,), value),
        "shared": torch.full((nbytes // 4,), value),
    }


def value_in(
    directory: Path,
    world_size: int,
    subject: Subject = "dcpcpp",
    nbytes: int = NBYTES,
    file_format: Format = "native",
) -> float:
    """The one value in every element of a checkpoint of state_of()."""
    state = {name: torch.zeros(nbytes // 4) for name in names(world_size)}
    reader = formats.reader(subject, file_format, directory)
    LIBRARIES[subject].load(state, storage_reader=reader, no_dist=True)
    extremes = [extreme for tensor in state.values() for extreme in tensor.aminmax()]
    values = {float(extreme) for extreme in extremes}
    (value,) = values
    return value


def names(world_size: int) -> list[str]:
    return ["shared", *(f"own-{rank}" for rank in range(world_size))]


def attempt(call: Callable[[], Any], before: Counter[str] | None = None) -> Ending:
    """Run a save or load that may fail. `before`: what was held() before an earlier one."""
    before = before or held()
    try:
        call()
    except (Exception, CheckpointException, KeyboardInterrupt) as error:
        at = time.monotonic()
        failures = getattr(error, "failures", {})
        return Ending(
            at,
            {rank: str(cause) for rank, (cause, _) in failures.items()},
            type(error).__name__,
            isinstance(error, RuntimeError),
            sorted((held() - before).elements()),
        )
    return Ending(time.monotonic(), left_behind=sorted((held() - before).elements()))


def save_twice(
    me: Rank,
    directory: Path,
    verb: str,
    place: str,
    at_gate: list[int],
    again: bool,
    subject: Subject = "dcpcpp",
) -> list[Ending]:
    """Saves OLD; then saves NEW, or loads, with some ranks waiting at a gate.

    Args:
        me: this rank.
        directory: to save to.
        verb: "save", "async_save" or "load": what is done with the gate closed.
        place: where the gate is; see `Gate`.
        at_gate: the ranks that wait there.
        again: save NEW once more after it, on all ranks, once "again" is marked.
        subject: who saves.
    """
    library = LIBRARIES[subject]
    gate = Gate(me, "load" if verb == "load" else "save", place)
    target = f"gated://{directory}"
    gated = {"s": gate.state()}
    way = Way("thread" if verb == "async_save" else "save", subject)

    def save(value: float) -> None:
        # Else the plan of the save before is remembered, and no states are sent.
        changed = {f"saved-{value}": 1} if place == "states sent" else {}
        way.save(state_of(me.rank, value) | gated | changed, checkpoint_id=target)

    save(OLD)
    before = held()
    gate.is_closed = me.rank in at_gate
    gate.pass_by("arrival")
    if verb == "load":
        ending = attempt(lambda: library.load(state_of(me.rank, 0.0) | gated, checkpoint_id=target))
    else:
        ending = attempt(lambda: save(NEW))
    gate.is_closed = False
    if not again:
        return [ending]
    me.mark(f"ended-{me.rank}")
    me.wait_for("again")
    return [ending, attempt(lambda: save(NEW), before)]


def save_new(me: Rank, directory: Path) -> list[str]:
    """A save in a job that was started again; the names that are in the directory then."""
    dcpcpp.save(state_of(me.rank, NEW) | {"s": {"x": 1}}, checkpoint_id=directory)
    return sorted(path.name for path in directory.iterdir())


def save_when_rank_0_is_gone(me: Rank, directory: Path) -> Ending:
    """The first operation of its group."""
    me.mark(f"ready-{me.rank}")
    me.wait_for("gone")
    return attempt(lambda: dcpcpp.save(state_of(me.rank, NEW), checkpoint_id=directory))


def save_old(me: Rank, directory: Path, way: Way) -> None:
    """Saves OLD."""
    writer = way.writer(directory)
    way.library.save(state_of(me.rank, OLD, way.nbytes), storage_writer=writer)


def get_ready(me: Rank, way: Way) -> dict[str, Any]:
    """A first save, which connects the ranks, and the state of another one."""
    way.save({"x": torch.zeros(1)}, storage_writer=way.writer(me.folder / "first"))
    if way.how == "process":
        me.mark(f"saver-{me.rank}-{saver_process()}")
    state = state_of(me.rank, NEW, way.nbytes)
    me.mark(f"ready-{me.rank}")
    return state


def save_new_at_go(me: Rank, directory: Path, way: Way) -> float:
    """Saves NEW, once "go" is marked; when that returned or failed, by the monotonic clock."""
    state = get_ready(me, way)
    me.wait_for("go")
    with contextlib.suppress(Exception, CheckpointException):
        way.save(state, storage_writer=way.writer(directory))
    return time.monotonic()


def held() -> Counter[str]:
    """Threads, and open files by name; sockets have none that lasts."""
    gc.collect()  # errors and the frames in their tracebacks refer to each other
    files = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread has closed it meanwhile
            path = str(link.readlink())
            files.append("socket" if path.startswith("socket:") else path)
    if dist.get_rank() == 0:  # it serves the store, whose clients come and go
        files = [path for path in files if path != "socket"]
    return Counter(files + [thread.name for thread in threading.enumerate()])


def save_without_gil(me: Rank, directory: Path, stuck: int) -> Ending:
    """Saves while nothing in Python can run on the rank `stuck`."""
    gate = Gate(me, "save", "state")
    gate.is_closed = me.rank == stuck
    gate.wait = lambda: ctypes.PyDLL(None).sleep(10)  # keeps the GIL
    state = state_of(me.rank, NEW) | {"s": gate.state()}
    return attempt(lambda: dcpcpp.save(state, checkpoint_id=directory))


def save_late(me: Rank, directory: Path, late: int, seconds: float) -> tuple[list[str], Ending]:
    """Saves twice, with one rank that is late the second time; log lines and the end."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("dcpcpp").addHandler(handler)
    _arrival.LATE_SECONDS = 1.0
    dcpcpp.save(state_of(me.rank, OLD), checkpoint_id=directory)
    if me.rank == late:
        time.sleep(seconds)
    ending = attempt(lambda: dcpcpp.save(state_of(me.rank, NEW), checkpoint_id=directory))
    return lines, ending


def count_keys(me: Rank, directory: Path) -> list[int]:
    """Keys in the store after saves, loads and errors."""
    store = dist.distributed_c10d._get_default_store()

    def failing() -> dict[str, Any]:
        raise ZeroDivisionError

    class Failing:
        state_dict = staticmethod(failing)

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def save(**more: Any) -> Ending:
        state = state_of(me.rank, NEW) | more
        return attempt(lambda: dcpcpp.save(state, checkpoint_id=directory))

    counts = []
    for number in range(6):
        kind = ("save", "load", "error")[number % 3]
        if kind == "load":
            dcpcpp.load(state_of(me.rank, 0.0), checkpoint_id=directory)
        else:
            ending = save(s=Failing() if kind == "error" and me.rank == 2 else 1)
            assert list(ending.failures) == ([2] if kind == "error" else [])
        dist.barrier()
        counts.append(sum("dcpcpp" in key for key in store.list_keys()))
        dist.barrier()
    return counts


def soak(me: Rank, directory: Path, count: int) -> list[tuple[int, int, int, int]]:
    """Saves `count` times; after each: open files, threads, resident KiB, keys in the store."""
    store = dist.distributed_c10d._get_default_store()
    figures: list[tuple[int, int, int, int]] = []
    for number in range(count):
        dcpcpp.save(state_of(me.rank, float(number)), checkpoint_id=directory)
        dist.barrier()
        status = Path("/proc/self/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0])
        files = len(list(Path("/proc/self/fd").iterdir()))
        threads = _count_threads(before=figures[-1][1] if figures else 1000)
        figures.append((files, threads, resident, store.num_keys()))
        dist.barrier()
    return figures


def _count_threads(before: int) -> int:
    """Once there are no more than `before`: a joined thread is listed for a moment more."""
    deadline = time.monotonic() + 5
    while True:
        count = len(list(Path("/proc/self/task").iterdir()))
        if count <= before or time.monotonic() > deadline:
            return count
        time.sleep(0.001)
