"""Signs of life: this rank's own, and looking for those of the others.

All of it runs in the operation's StoreThread, whose idle moments and waits call
`Watch.tend`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from dcpcpp._errand import Errand, Sign
from dcpcpp._group import Group
from dcpcpp._lost_rank import Kind, RankLostError
from dcpcpp._processes import Process

LOOK_SECONDS = 0.1


def heartbeat_timeout() -> float:
    """Seconds of silence after which a rank counts as gone: DCPCPP_HEARTBEAT_TIMEOUT, or 15.

    Raises:
        ValueError: it is not a number from 2 to 600.
    """
    text = os.environ.get("DCPCPP_HEARTBEAT_TIMEOUT", "15")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 2 <= seconds <= 600:
        raise ValueError(f"DCPCPP_HEARTBEAT_TIMEOUT must be from 2 to 600 seconds, not {text!r}")
    return seconds


class Watch:
    """One operation's.

    Attributes:
        operation: name of the operation; empty before this rank has arrived.
        phase: of the operation, for errors.
        lost: what ends the operation, once it is known.
        has_met: whether all ranks have arrived.
    """

    def __init__(self, group: Group, coordinator: int, errand: Errand, patience: float) -> None:
        self.operation = ""
        self.phase = "arrival"
        self.lost: RankLostError | None = None
        self.has_met = False
        self._group = group
        self._coordinator = coordinator
        self._patience = patience
        self._process = Process.current()
        self._arrival = Sign(self._process, errand).to_json()
        self._beat_seconds = min(1.0, patience / 5)
        self._beats = 0
        # Seconds that this process has looked: one that was stopped cannot judge others.
        self._clock = 0.0
        self._last_look = time.monotonic()
        self._next_beat = self._next_signs = 0.0
        self._seen: dict[int, tuple[bytes, float]] = {}  # a sign of life, and since when

    def show_life(self, store: Any) -> None:
        """Set this rank's sign of life."""
        self._beats += 1
        store.set(f"{self.operation}/alive/{self._group.rank}", self._sign_of_life())
        self._next_beat = self._clock + self._beat_seconds

    def tend(self, store: Any) -> None:
        """Show life and look for that of the others, if it is time to.

        Raises:
            RankLostError: a rank is gone.
        """
        now = time.monotonic()
        if now - self._last_look < LOOK_SECONDS:
            return
        self._clock += min(now - self._last_look, 5 * LOOK_SECONDS)
        self._last_look = now
        if self.operation and self._clock >= self._next_beat:
            self.show_life(store)
        self.look_for_lost(store)
        self._look_at_processes(store)
        if self.operation and self._clock >= self._next_signs:
            self._look_at_signs(store)
            self._next_signs = self._clock + self._beat_seconds / 2

    def look_for_lost(self, store: Any) -> None:
        """Raise what this rank or another has found."""
        if self.lost is None and self.operation and store.check([f"{self.operation}/lost"]):
            self.lost = RankLostError.from_json(store.get(f"{self.operation}/lost"))
        if self.lost is not None:
            raise self.lost

    def report(self, store: Any, error: RankLostError) -> NoReturn:
        """Tell all ranks of `error`, unless they know of another one, and raise that."""
        if self.operation:
            first = store.compare_set(f"{self.operation}/lost", "", error.to_json())
            error = RankLostError.from_json(first)
        elif error.is_final:
            store.set(f"now/{self._coordinator}", GONE + error.to_json())
        self.lost = error
        raise error

    def read_arrival(self, store: Any, rank: int) -> Sign:
        """What `rank` has come for; before all have met. Remembers its process.

        Raises:
            RankLostError: it does not say that in a way that can be read.
        """
        try:
            sign = Sign.from_json(json.loads(store.get(f"{self.operation}/alive/{rank}"))[1])
        except (IndexError, TypeError, ValueError) as error:
            why = f"sent a sign of arrival that cannot be read: {error}"
            self.report(store, self.lost_rank(rank, why))
        self.learn([(rank, sign.process)])
        return sign

    def tell_all(self, store: Any, processes: Iterable[Process]) -> None:
        """Coordinator: tell all ranks that all have arrived, and where each runs."""
        told = [process.to_json() for process in processes]
        store.set(f"{self.operation}/all", json.dumps(told))

    def learn_all(self, store: Any) -> None:
        """Remember the processes of all ranks, once the coordinator has told them."""
        known = len(self._group.processes) == self._group.world_size
        if not known and self.operation and store.check([f"{self.operation}/all"]):
            told = json.loads(store.get(f"{self.operation}/all"))
            self.learn(enumerate(Process.from_json(process) for process in told))

    def learn(self, processes: Iterable[tuple[int, Process]]) -> None:
        """Remember the processes of ranks, which stay the same for the group's life."""
        self._group.processes.update(processes)

    def lost_rank(
        self, rank: int, why: str, *, is_final: bool = False, kind: Kind = "lost"
    ) -> RankLostError:
        """The error for `rank`."""
        return RankLostError(
            rank,
            why,
            phase=self.phase,
            global_rank=self._group.global_rank(rank),
            process=self._process if rank == self._group.rank else self._group.processes.get(rank),
            is_final=is_final,
            kind=kind,
        )

    def find_ended(self) -> RankLostError | None:
        """A rank whose process is seen to have ended."""
        machine = self._process.machine
        for rank, process in self._group.processes.items():
            if process.is_on(machine) and process.has_ended():
                return self.lost_rank(rank, "is gone: its process ended", is_final=True)
        return None

    def _look_at_processes(self, store: Any) -> None:
        self.learn_all(store)
        if error := self.find_ended():
            self.report(store, error)

    def _look_at_signs(self, store: Any) -> None:
        for rank in self._watched():
            key = f"{self.operation}/alive/{rank}"
            if not store.check([key]):
                continue  # it has not arrived
            sign = store.get(key)
            last, since = self._seen.get(rank, (None, self._clock))
            if sign != last:
                self._seen[rank] = (sign, self._clock)
            elif self._clock - since > self._patience - self._beat_seconds / 2:
                why = f"is gone: no sign of life for {self._patience:.0f} s"
                self.report(store, self.lost_rank(rank, why))

    def _watched(self) -> Iterable[int]:
        if self._group.rank != self._coordinator:
            return [self._coordinator]
        return [rank for rank in range(self._group.world_size) if rank != self._group.rank]

    def _sign_of_life(self) -> str:
        return json.dumps([self._beats] if self.has_met else [self._beats, self._arrival])


GONE = "gone "  # in the place of an operation's name: its coordinator will not come
