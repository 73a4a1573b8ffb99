"""At which call of `save` a run ends that is preempted: the ranks agree on one.

Not every rank is told of the end, nor at the same time, and a rank may be some calls ahead
of another one: trainers queue work for devices. So it is agreed by threads, and a step
costs nothing, neither a collective nor a message.

1. A thread of each rank looks once a second whether this rank is to end, or another one
   has left a notice in the Store. If this one is, it leaves the notice.
2. Who knows of it holds back this rank's calls that begin from here on, and tells how many
   have begun.
3. The first rank takes the highest of these numbers. The next call is the one: no rank has
   begun it. It tells all, and what was held back goes on.

No rank waits for another one's trainer here, only for its thread, so one that is behind
still gets what it needs from those ahead, and comes to that call. A rank that is done
leaves its number; the first one also that nothing will be agreed on any more. A call that
nobody makes does no harm.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import uuid
from typing import Any

from dcpcpp._group import Group
from dcpcpp._manager_ranks import on_first_rank
from dcpcpp._preemption import Preemption

logger = logging.getLogger("dcpcpp")

_LOOK_SECONDS = 1.0
_WAIT_SECONDS = 0.05  # between looks while the ranks agree
_END_SECONDS = 5.0  # for the thread, once the manager is closed
_NEVER = 0


class _ClosedError(Exception):
    """This rank makes no more calls."""


class LastCall:
    """Tells which call is the last one of a preempted run. Collective to make.

    Args:
        preemption: of this process.
        group: the ranks; None for this process alone.
        name: the same on all ranks, and another one's of no manager.
    """

    def __init__(self, preemption: Preemption, group: Any, name: str) -> None:
        self._preemption = preemption
        self._changed = threading.Condition()
        self._begun = 0  # calls
        self._is_held = False
        self._last: int | None = None
        self._failure: Exception | None = None
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        if group is None:
            return
        self._group = Group(group, f"preemption/{name}")
        self._thread = threading.Thread(target=self._work, name="dcpcpp-preemption", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def is_here(self) -> bool:
        """Count a call; whether it is the last one.

        Raises:
            RuntimeError: a rank does not take part in the agreement.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_held or self._last is not None)
            if self._failure is not None:
                raise RuntimeError(
                    f"the run is to end, and its ranks cannot agree where: {self._failure}"
                ) from self._failure
            self._begun += 1
            if self._thread is None and self._last is None and self._preemption.is_noticed:
                self._last = self._begun
            return self._begun == self._last

    def close(self) -> None:
        """There are no more calls on this rank."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
            atexit.unregister(self.close)

    # What follows runs in the thread.

    def _work(self) -> None:
        store = None
        try:
            store = self._group.connect(self._group.timeout)
            while not self._is_closed.wait(_LOOK_SECONDS):
                if self._preemption.is_noticed:
                    store.set("notice", b"1")
                elif not store.check(["notice"]):
                    continue
                self._agree(store)
                break
        except _ClosedError:
            pass
        except Exception as error:
            self._fail(error)
        if store is not None:
            with contextlib.suppress(Exception):  # the others may be gone, and the Store too
                self._leave(store)

    def _agree(self, store: Any) -> None:
        with self._changed:
            self._is_held = True
            begun = self._begun
        store.set(self._key(self._group.rank), str(begun))
        if self._group.rank == 0:
            ranks = range(self._group.world_size)
            counts = [int(self._take(store, self._key(rank), rank)) for rank in ranks]
            store.set("last", str(max(counts) + 1))
        last = int(self._take(store, "last", 0))
        with self._changed:
            self._last = last
            self._changed.notify_all()
        if last != _NEVER:
            logger.warning(
                "a rank of this run is to end: call %d of save() saves it and is the last one",
                last,
            )

    def _take(self, store: Any, key: str, sender: int) -> bytes:
        deadline = time.monotonic() + self._group.timeout
        while not store.check([key]):
            if self._is_closed.wait(_WAIT_SECONDS):
                raise _ClosedError
            if time.monotonic() > deadline:
                name = self._group.name_of(sender)
                raise TimeoutError(f"{name} has sent nothing for {self._group.timeout:.0f} s")
        value: bytes = store.get(key)
        return value

    def _leave(self, store: Any) -> None:
        """Tell the others not to wait for this rank."""
        with self._changed:
            begun = self._begun
        if not store.check([self._key(self._group.rank)]):
            store.set(self._key(self._group.rank), str(begun))
        if self._group.rank == 0 and not store.check(["last"]):
            store.set("last", str(_NEVER))

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._is_held:
                self._failure, self._last = error, _NEVER
                self._changed.notify_all()
                return
        # A Store that is gone takes the training with it, which will say so itself.
        log = logger.warning if self._preemption.is_noticed else logger.debug
        log("this run cannot be told of an early end: %s", error)

    @staticmethod
    def _key(rank: int) -> str:
        return f"begun/{rank}"


def last_call_of(preemption: Preemption, group: Any) -> LastCall:
    """The agreement of the ranks of `group`. Collective."""
    return LastCall(preemption, group, on_first_rank(group, lambda: uuid.uuid4().hex))
