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

A thread whose Store fails connects once more. If that does not help, its rank trains on and
holds nothing back, so a number of it would soon be wrong: it leaves what went wrong instead,
and the first rank tells all that there is no last call.
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


class _SilentRankError(TimeoutError):
    """A rank does not take part in the agreement."""


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
        failure: Exception | None = None
        try:
            self._look_and_agree()
        except _ClosedError:
            pass
        except Exception as error:
            failure = error
            self._fail(error)
            self._group.disconnect()
        with contextlib.suppress(Exception):  # the others may be gone, and the Store too
            self._leave(self._group.connect(self._group.timeout), failure)

    def _look_and_agree(self) -> None:
        try:
            self._look_until_agreed(self._group.connect(self._group.timeout))
        except (OSError, RuntimeError) as error:
            if isinstance(error, _SilentRankError) or self._is_closed.is_set():
                raise
            logger.info("the Store failed, which is asked again over a new connection: %s", error)
            self._group.disconnect()
            self._look_until_agreed(self._group.connect(self._group.timeout))

    def _look_until_agreed(self, store: Any) -> None:
        while not self._is_closed.wait(_LOOK_SECONDS):
            if self._must_end(store):
                self._agree(store)
                return

    def _must_end(self, store: Any) -> bool:
        if self._preemption.is_noticed:
            store.set("notice", b"1")
            return True
        return bool(store.check(["notice"]))

    def _agree(self, store: Any) -> None:
        with self._changed:
            self._is_held = True
            begun = self._begun
        store.set(self._key(self._group.rank), str(begun))
        if self._group.rank == 0:
            ranks = range(self._group.world_size)
            told = [self._take(store, self._key(rank), rank) for rank in ranks]
            failures = [text for text in told if not text.isdigit()]
            store.set("last", failures[0] if failures else str(max(map(int, told)) + 1))
        answer = self._take(store, "last", 0)
        last = int(answer) if answer.isdigit() else _NEVER
        with self._changed:
            self._last = last
            self._changed.notify_all()
        if not answer.isdigit():
            logger.warning(
                "a rank of this run is to end, and nothing is saved before, because %s", answer
            )
        elif last != _NEVER:
            logger.warning(
                "a rank of this run is to end: call %d of save() saves it and is the last one",
                last,
            )

    def _take(self, store: Any, key: str, sender: int) -> str:
        deadline = time.monotonic() + self._group.timeout
        while not store.check([key]):
            if self._is_closed.wait(_WAIT_SECONDS):
                raise _ClosedError
            if time.monotonic() > deadline:
                name = self._group.name_of(sender)
                raise _SilentRankError(f"{name} has sent nothing for {self._group.timeout:.0f} s")
        value: bytes = store.get(key)
        return value.decode(errors="replace")

    def _leave(self, store: Any, failure: Exception | None) -> None:
        """Tell the others not to wait for this rank, and what it failed with."""
        name = self._group.name_of(self._group.rank)
        text = None if failure is None else f"{name} could not talk to the others: {failure}"
        with self._changed:
            begun = self._begun
        if not store.check([self._key(self._group.rank)]):
            store.set(self._key(self._group.rank), text or str(begun))
        if self._group.rank == 0 and not store.check(["last"]):
            store.set("last", text or str(_NEVER))

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._is_held:
                self._failure, self._last = error, _NEVER
                self._changed.notify_all()
                return
        # At the end of a run the rank that serves the Store may be gone.
        log = logger.debug if self._is_closed.is_set() else logger.warning
        log("this rank cannot be told of an early end, and none of the run saves then: %s", error)

    @staticmethod
    def _key(rank: int) -> str:
        return f"begun/{rank}"


def last_call_of(preemption: Preemption, group: Any) -> LastCall:
    """The agreement of the ranks of `group`. Collective."""
    return LastCall(preemption, group, on_first_rank(group, lambda: uuid.uuid4().hex))
