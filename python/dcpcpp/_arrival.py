"""How the ranks of an operation meet; `_presence` has the whole protocol."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable

from dcpcpp._board import Board
from dcpcpp._errand import Sign, find_fault, find_other_place
from dcpcpp._group import Group
from dcpcpp._lost_rank import Kind, RankLostError
from dcpcpp._watch import GONE, Watch

logger = logging.getLogger("dcpcpp")

LATE_SECONDS = 15.0  # between log lines about ranks that have not arrived


class Arrival:
    """Used in the operation's StoreThread only.

    Args:
        board: of the operation.
        watch: of the operation, which gets its name here.
        group: the ranks.
        coordinator: one of them.
    """

    def __init__(self, board: Board, watch: Watch, group: Group, coordinator: int) -> None:
        self._board = board
        self._watch = watch
        self._group = group
        self._coordinator = coordinator
        self._now = f"now/{coordinator}"
        self._begun = time.monotonic()

    def open(self) -> None:
        """Coordinator: begin an operation and wait for all ranks."""
        store, key = self._board.store, self._board.key
        name = uuid.uuid4().hex
        self._watch.operation = self._group.last_operation = name
        self._watch.show_life(store)
        store.add(key("here"), 1)
        store.set(self._now, name)
        ranks = range(self._group.world_size)
        signs = [key(f"alive/{rank}") for rank in ranks]
        if not self._wait_for(signs, ranks):
            late = next(rank for rank in ranks if not store.check([signs[rank]]))
            self._watch.report(store, self._too_late(late))
        arrived = [self._watch.read_arrival(store, rank) for rank in ranks]
        self._compare(arrived)
        self._watch.tell_all(store, [sign.process for sign in arrived])
        self._watch.has_met = True
        store.delete_key(self._now)

    def join(self) -> None:
        """Others: wait for the coordinator's operation and take part in it."""
        while not self._watch.operation:
            if not self._wait_for([self._now], [self._coordinator]):
                raise self._too_late(self._coordinator)
            name = self._read_now()
            if name.startswith(GONE):
                raise RankLostError.from_json(name.removeprefix(GONE))
            if name in ("", self._group.last_operation):  # its coordinator has not left it yet
                self._board.wait_a_little(self._begun)
            else:
                self._try_to_join(name)
        # Not before the coordinator knows that all have come for the same.
        self._board.wait_for("all", float("inf"))
        self._watch.has_met = True

    def close(self) -> None:
        """Coordinator: nobody can join any more; after an error."""
        lost = self._watch.lost
        if lost is not None and lost.is_final:
            self._board.store.set(self._now, GONE + lost.to_json())
        else:
            self._board.store.delete_key(self._now)

    def _try_to_join(self, name: str) -> None:
        store, here = self._board.store, f"{name}/here"
        # Counted first: if the coordinator gives up after that, it is not the last.
        store.add(here, 1)
        if self._read_now() != name:
            if store.add(here, -1) == 0:
                store.delete_key(here)
            return
        self._watch.operation = self._group.last_operation = name
        # The coordinator's sign of arrival is there as long as this rank has not arrived.
        if store.check([self._board.key(f"alive/{self._coordinator}")]):
            self._watch.read_arrival(store, self._coordinator)
        self._watch.show_life(store)

    def _compare(self, arrived: list[Sign]) -> None:
        """Raise, on all ranks, if they have not all come for the same."""
        name_of = self._group.name_of
        if fault := find_fault(arrived, self._coordinator, name_of):
            kind: Kind = "busy" if fault.is_busy else "differs"
            error = self._watch.lost_rank(fault.rank, fault.why, kind=kind)
            self._watch.report(self._board.store, error)
        other_place = find_other_place(arrived, name_of) if not self._group.was_warned else ""
        if other_place:
            self._group.was_warned = True
            logger.warning("%s; a checkpoint in two places is in parts", other_place)

    def _read_now(self) -> str:
        store = self._board.store
        return str(store.get(self._now).decode()) if store.check([self._now]) else ""

    def _wait_for(self, keys: list[str], ranks: Iterable[int]) -> bool:
        """Whether all keys were set in time; names those of `ranks` that are late."""
        next_line = LATE_SECONDS
        while not self._board.store.check(keys):
            waited = time.monotonic() - self._begun
            if waited > self._group.timeout:
                return False
            if waited > next_line:
                next_line += LATE_SECONDS
                pairs = zip(ranks, keys, strict=True)
                self._log([rank for rank, key in pairs if not self._board.store.check([key])])
            self._board.wait_a_little(self._begun)
        return True

    def _log(self, late: list[int]) -> None:
        names = ", ".join(map(self._group.name_of, late))
        waited = time.monotonic() - self._begun
        logger.warning("waiting for %s to arrive: %.0f s so far", names, waited)

    def _too_late(self, rank: int) -> RankLostError:
        why = f"has not arrived within the group's timeout of {self._group.timeout:.0f} s"
        return self._watch.lost_rank(rank, why)
