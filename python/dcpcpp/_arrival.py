"""How the ranks of an operation meet; `_presence` has the whole protocol."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterable

from dcpcpp._board import Board
from dcpcpp._group import Group
from dcpcpp._lost_rank import RankLostError
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
        self._begin(name)
        store.add(key("here"), 1)
        store.set(self._now, name)
        ranks = range(self._group.world_size)
        signs = [key(f"alive/{rank}") for rank in ranks]
        if not self._wait_for(signs, ranks):
            late = next(rank for rank in ranks if not store.check([signs[rank]]))
            self._watch.report(store, self._too_late(late))
        told = [store.get(sign).decode() for sign in signs]
        self._watch.learn(enumerate(told))
        store.set(key("all"), json.dumps(told))
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
        self._begin(name)
        sign = self._board.key(f"alive/{self._coordinator}")
        if store.check([sign]):
            self._watch.learn([(self._coordinator, store.get(sign).decode())])

    def _begin(self, name: str) -> None:
        self._watch.operation = self._group.last_operation = name
        self._watch.show_life(self._board.store)

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
        known = self._group.processes
        names = ", ".join(f"{r} ({known[r]})" if r in known else str(r) for r in late)
        waited = time.monotonic() - self._begun
        logger.warning("waiting for rank %s to arrive: %.0f s so far", names, waited)

    def _too_late(self, rank: int) -> RankLostError:
        why = f"has not arrived within the group's timeout of {self._group.timeout:.0f} s"
        return self._watch.lost_rank(rank, why)
