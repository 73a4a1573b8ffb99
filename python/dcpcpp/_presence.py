"""Who takes part in an operation, and waiting for them as long as they are alive.

All of it, messages included, goes through the group's Store, under `dcpcpp/`. It has no
collectives, whose timeouts would end the wait for a living rank, and which a lost one
would leave half done for the next operation.

1. The coordinator arrives: it makes up a name for the operation, under which all its keys
   are, and tells it in `now/<coordinator>`.
2. A rank that arrives waits for that key, and shows its first sign of life,
   `alive/<rank>`, which also says what it has come for (`_errand`). The coordinator waits
   for all of these, up to the group's timeout, and compares them: if they differ, all
   ranks raise. Else it tells all ranks of all processes in `all`, for which they wait, and
   removes `now`: who is late finds no operation that the others gave up.
3. While an operation runs, a thread of each rank counts up its sign of life. The
   coordinator watches those of all, the others that of the coordinator. One that stands
   still for the heartbeat's timeout means that its rank is gone, or as good as gone:
   stopped, or stuck with the GIL held.
4. Each rank also watches the processes of those on its own machine (`_processes`), and
   knows at once that one ended.
5. Who finds a rank gone sets `lost`, and so does a rank that leaves with an error that
   the others do not know of; the first one counts. Everybody who waits looks at it.
6. The last one to leave removes all keys. A rank whose process serves the Store waits
   for that, or the others could not read what it told them.

How long a living rank takes to read or write is nobody's business here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dcpcpp._arrival import Arrival
from dcpcpp._board import Board
from dcpcpp._errand import Errand
from dcpcpp._group import Group
from dcpcpp._lost_rank import RankLostError
from dcpcpp._store_thread import StoreSilentError, StoreThread
from dcpcpp._watch import Watch, heartbeat_timeout

Result = TypeVar("Result")

_LINGER_SECONDS = 0.5  # of the rank that serves the Store, after an error
_LOOK_SECONDS = 0.05


class Presence:
    """This rank's part in one operation. One thread at a time.

    Every call raises RankLostError if a rank is gone, or the Store.

    Args:
        group: the ranks.
        coordinator: the rank that watches the others.
        errand: what this rank has come for.
    """

    def __init__(self, group: Group, coordinator: int, errand: Errand) -> None:
        self._patience = heartbeat_timeout()
        self._group = group
        self._is_coordinator = group.rank == coordinator
        self._watch = Watch(group, coordinator, errand, self._patience)
        self._thread = StoreThread(self._tend)
        self._board = Board(self._watch, self._thread)
        self._arrival = Arrival(self._board, self._watch, group, coordinator)
        self._is_stuck = False

    @property
    def phase(self) -> str:
        """Of the operation, for errors."""
        return self._watch.phase

    @phase.setter
    def phase(self, phase: str) -> None:
        self._watch.phase = phase

    def arrive(self) -> None:
        """Meet the other ranks; before any other call."""
        self._board.shared += [f"alive/{rank}" for rank in range(self._group.world_size)]
        with self._naming_the_store():
            self._is_stuck = True  # it may be, if the next line raises
            self._thread.call(self._connect, self._group.timeout, self._group.require_server)
            self._is_stuck = False
        self._call(self._arrival.open if self._is_coordinator else self._arrival.join)

    def put(self, key: str, value: bytes, *, readers: int = 1) -> None:
        """Send `value` to those who take `key`."""
        self._call(lambda: self._board.put(key, value, readers=readers))

    def take(self, key: str, sender: int, *, readers: int = 1) -> bytes:
        """Wait for what `sender` puts under `key`; if it has one reader, it is removed."""
        limit = self._group.timeout + self._patience

        def take() -> bytes:
            if not self._board.wait_for(key, limit):
                why = f"has sent nothing for {limit:.0f} s"
                self._watch.report(self._board.store, self._watch.lost_rank(sender, why))
            return self._board.take(key, readers=readers)

        return self._call(take)

    def check(self) -> None:
        """Raise if the others gave up."""
        self._call(lambda: self._watch.look_for_lost(self._board.store))

    def check_quickly(self) -> None:
        """The same, by what the thread has seen."""
        if self._watch.lost is not None:
            raise self._watch.lost

    def wait_for_all(self, phase: str) -> None:
        """Return once all ranks have called this for `phase`."""
        everyone, count = f"{phase}/everyone", f"{phase}/count"
        self._board.shared += [everyone, count]

        def wait() -> None:
            store, key = self._board.store, self._board.key
            if store.add(key(count), 1) == self._group.world_size:
                store.set(key(everyone), b"1")
            self._board.wait_for(everyone, float("inf"))

        self._call(wait)

    def leave(self, error: BaseException | None) -> None:
        """End the operation on this rank.

        Args:
            error: what the other ranks do not know of; None if all ranks end alike.
        """
        self._thread.stop(lambda: self._leave(error), 0.0 if self._is_stuck else 2 * self._patience)

    # What follows runs in the thread.

    def _connect(self) -> None:
        self._board.store = self._group.connect(self._patience)

    def _tend(self) -> None:
        if self._board.store is not None and not self._thread.is_stopping:
            self._watch.tend(self._board.store)

    def _leave(self, error: BaseException | None) -> None:
        if self._board.store is None:
            return
        failed = error is not None or self._watch.lost is not None
        if failed:
            self._tell_why(error)
        if not self._watch.operation:
            return
        self._watch.learn_all(self._board.store)
        if failed:
            if self._is_coordinator and self._watch.phase == "arrival":
                self._arrival.close()
            self._board.remove(self._board.own)
        if self._board.store.add(self._board.key("here"), -1) == 0:
            self._board.remove([*self._board.shared, "lost", "all", "here"])
        elif self._group.rank == self._group.store_rank:
            self._linger(_LINGER_SECONDS if failed else self._patience)

    def _tell_why(self, error: BaseException | None) -> None:
        """Leave the others an error, if they have none."""
        lost = self._watch.lost
        if lost is None:
            why = f"gave up: {type(error).__name__}: {error}"
            lost = self._watch.lost_rank(self._group.rank, why)
        with contextlib.suppress(RankLostError):
            self._watch.report(self._board.store, lost)

    def _linger(self, seconds: float) -> None:
        """Serve the Store until the others have left, too."""
        begun = time.monotonic()
        here = [self._board.key("here")]
        while self._board.store.check(here) and time.monotonic() - begun < seconds:
            self._board.pause(begun)
            if self._watch.find_ended():
                return

    # What follows runs in the caller's thread.

    def _call(self, work: Callable[[], Result]) -> Result:
        with self._naming_the_store():
            return self._thread.call(work, self._patience)

    @contextlib.contextmanager
    def _naming_the_store(self) -> Iterator[None]:
        """Makes a RankLostError of the errors of the Store."""
        try:
            yield
            return
        except StoreSilentError:
            self._is_stuck = True
            why = f"does not answer: no word from the group's Store for {self._patience:.0f} s"
            self._watch.lost = self._lost_store(why)
        except RankLostError:
            raise
        except (OSError, RuntimeError) as error:
            self._watch.lost = self._lost_to(error)
        self._group.disconnect()
        raise self._watch.lost

    def _lost_to(self, error: Exception) -> RankLostError:
        """Which rank is gone, now that the Store is."""
        if self._watch.lost is not None:
            return self._watch.lost
        # Its connections end a little before the process does.
        deadline = time.monotonic() + _LINGER_SECONDS
        while self._group.processes and time.monotonic() < deadline:
            if ended := self._watch.find_ended():
                return ended
            time.sleep(_LOOK_SECONDS)
        return self._lost_store(f"is gone, and the group's Store with it: {error}")

    def _lost_store(self, why: str) -> RankLostError:
        rank = self._group.store_rank
        if rank in (None, self._group.rank):
            return self._watch.lost_rank(
                self._group.rank, f"lost its connection to the others: {why}"
            )
        assert rank is not None
        return self._watch.lost_rank(rank, why)
