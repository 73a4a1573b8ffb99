"""Waiting for all ranks of an operation, as long as they are alive.

It goes through the group's Store, so that no collective, with its timeout, is pending
while a rank moves bytes:

1. While an operation runs, a thread of each rank counts up the key `alive/<rank>`.
2. A rank that is done with a phase sets `<phase>/arrived/<rank>` and waits for
   `<phase>/everyone`, which the last one to arrive sets.
3. Meanwhile the coordinator watches the ranks that have not arrived, and the others
   watch the coordinator. A count that stands still for LOST_AFTER_SECONDS means that
   its rank is gone, or as good as gone: stopped, or stuck with the GIL held.
4. Who finds a rank gone sets `lost`, and so does a rank that leaves with an error that
   the others do not know of. Everybody who waits looks at `lost`.

How long a living rank takes is nobody's business here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any

BEAT_SECONDS = 2.0
LOOK_SECONDS = 2.0
LOST_AFTER_SECONDS = 30.0

_POLL_SECONDS = (0.001, 0.05)  # first and longest pause between looks at `everyone`
_LOST = "lost"


class RankLostError(ConnectionError):
    """A rank is gone or gave up; its number is in `rank`."""

    def __init__(self, rank: int, why: str) -> None:
        super().__init__(f"rank {rank} {why}")
        self.rank = rank


class Presence:
    """This rank's part in one operation. One thread at a time.

    Args:
        store: of the group, for this operation's keys alone.
        rank: this rank.
        world_size: ranks of the group.
        coordinator: the rank that watches the others.
    """

    def __init__(self, store: Any, rank: int, world_size: int, coordinator: int) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._coordinator = coordinator
        self._keys: list[str] = []  # set by this rank
        self._seen: dict[int, tuple[bytes, float]] = {}  # a rank's count, and since when
        self._set(f"alive/{rank}", self._sign_of_life(0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="dcpcpp-presence", daemon=True)
        self._thread.start()

    def wait_for_all(self, phase: str) -> None:
        """Return once all ranks have called this for `phase`.

        Raises:
            RankLostError: one that has not is gone.
        """
        self._set(f"{phase}/arrived/{self._rank}", b"1")
        everyone, count = f"{phase}/everyone", f"{phase}/count"
        self._keys.append(count)
        if self._store.add(count, 1) == self._world_size:
            self._set(everyone, b"1")
        pause, longest = _POLL_SECONDS
        next_look = time.monotonic() + LOOK_SECONDS
        while not self._store.check([everyone]):
            time.sleep(pause)
            pause = min(2 * pause, longest)
            if time.monotonic() >= next_look:
                self._look(phase)
                next_look = time.monotonic() + LOOK_SECONDS

    def leave(self, error: BaseException | None) -> None:
        """End the operation on this rank.

        Args:
            error: what the other ranks do not know of yet; None if all ranks end alike.
        """
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(RuntimeError):  # the Store may be gone by now
            if error is not None:
                self._announce(self._rank, f"gave up: {type(error).__name__}: {error}")
                return
            # All ranks have met, so nobody looks at these any more.
            for key in self._keys:
                self._store.delete_key(key)

    def _look(self, phase: str) -> None:
        if self._store.check([_LOST]):
            rank, _, why = self._store.get(_LOST).decode().partition(" ")
            raise RankLostError(int(rank), why)
        for rank in self._watched(phase):
            key = f"alive/{rank}"
            count = self._store.get(key) if self._store.check([key]) else b""
            now = time.monotonic()
            last, since = self._seen.get(rank, (None, now))
            if count != last:
                self._seen[rank] = (count, now)
            elif now - since > LOST_AFTER_SECONDS:
                why = f"is gone: no sign of life for {LOST_AFTER_SECONDS:.0f} s"
                self._announce(rank, f"{why} {_process_of(count)}".rstrip())
                raise RankLostError(rank, f"{why} {_process_of(count)}".rstrip())

    def _watched(self, phase: str) -> list[int]:
        if self._rank != self._coordinator:
            return [self._coordinator]
        return [
            rank
            for rank in range(self._world_size)
            if rank != self._rank and not self._store.check([f"{phase}/arrived/{rank}"])
        ]

    def _announce(self, rank: int, why: str) -> None:
        self._store.set(_LOST, f"{rank} {why}")

    def _set(self, key: str, value: bytes) -> None:
        self._keys.append(key)
        self._store.set(key, value)

    def _beat(self) -> None:
        """Runs in the thread. Operations shorter than a beat cost no message."""
        count, store = 0, None
        while not self._stop.wait(BEAT_SECONDS):
            count += 1
            try:
                # A connection of its own: others may wait for a key on the group's.
                store = store or _connection_like(self._store)
                store.set(f"alive/{self._rank}", self._sign_of_life(count))
            except RuntimeError:
                return  # the Store is gone, which the main thread finds out itself

    @staticmethod
    def _sign_of_life(count: int) -> bytes:
        return f"{count} {socket.gethostname()} {os.getpid()}".encode()


def _process_of(beat: bytes) -> str:
    _, _, process = beat.decode().partition(" ")
    host, _, pid = process.rpartition(" ")
    return f"(host {host}, process {pid})" if host else ""


def _connection_like(store: Any) -> Any:
    return store.clone() if hasattr(store, "clone") else store  # torch >= 2.9
