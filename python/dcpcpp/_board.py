"""The keys of one operation in the group's Store, and waiting for them."""

from __future__ import annotations

import time
from typing import Any

from dcpcpp._lost_rank import RankLostError
from dcpcpp._store_thread import StoreThread
from dcpcpp._watch import Watch

_POLL_SECONDS = (0.0001, 0.05)  # shortest and longest pause between looks at a key
_PIECE_NBYTES = 4 << 20  # TCPStore takes values of less than 8 MiB


class StoppingError(RuntimeError):
    """This rank leaves, so nobody waits for the result any more."""


class Board:
    """Used in the operation's StoreThread only.

    Attributes:
        store: None before the first connection.
        own: keys that this rank set, and another one will remove.
        shared: keys for the last rank to remove.
    """

    def __init__(self, watch: Watch, thread: StoreThread) -> None:
        self.store: Any = None
        self.own: list[str] = []
        self.shared: list[str] = []
        self._watch = watch
        self._thread = thread

    def key(self, name: str) -> str:
        """The operation's key `name`."""
        return f"{self._watch.operation}/{name}"

    def remove(self, names: list[str]) -> None:
        """Remove keys of the operation."""
        for name in names:
            self.store.delete_key(self.key(name))

    def put(self, name: str, value: bytes, *, readers: int) -> None:
        """Set a message of any length."""
        pieces = range(_PIECE_NBYTES, len(value), _PIECE_NBYTES)
        names = _names_of(name, len(pieces))
        (self.own if readers == 1 else self.shared).extend(names)
        for piece, begin in zip(names[1:], pieces, strict=True):
            self.store.set(self.key(piece), value[begin : begin + _PIECE_NBYTES])
        self.store.set(self.key(name), b"%d " % len(pieces) + value[:_PIECE_NBYTES])

    def take(self, name: str, *, readers: int) -> bytes:
        """A message that is there; the only reader removes it."""
        npieces, _, value = self.store.get(self.key(name)).partition(b" ")
        names = _names_of(name, int(npieces))
        value += b"".join(self.store.get(self.key(piece)) for piece in names[1:])
        if readers == 1:
            self.remove(names)
        else:
            self.shared.extend(names)
        return bytes(value)

    def wait_for(self, name: str, limit: float) -> bool:
        """Whether the key was set within `limit` seconds."""
        begun = time.monotonic()
        key = [self.key(name)]
        while not self.store.check(key):
            if time.monotonic() - begun > limit:
                return False
            try:
                self.wait_a_little(begun)
            except RankLostError:
                if self.store.check(key):  # who left after it was set is not missed
                    return True
                raise
        return True

    def wait_a_little(self, begun: float) -> None:
        """One turn of a wait that began at `begun`: signs of life, then a pause."""
        if self._thread.is_stopping:
            raise StoppingError
        self._watch.tend(self.store)
        self.pause(begun)

    def pause(self, begun: float) -> None:
        """The pause alone: the longer the wait, the longer it is."""
        self._thread.progressed()
        shortest, longest = _POLL_SECONDS
        time.sleep(min(max((time.monotonic() - begun) / 8, shortest), longest))


def _names_of(name: str, npieces: int) -> list[str]:
    """The keys of a message: of its beginning, and of the pieces that follow."""
    return [name, *(f"{name}/{piece}" for piece in range(npieces))]
