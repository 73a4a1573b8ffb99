"""Objects of which a pickle has told the class, but not yet the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Pending:
    """Stands for an object until its state makes it.

    numpy's `__setstate__` believes flags, offsets and sizes; with it, a file would make
    addresses out of bytes. So there is no array and no dtype before its state is known, and
    none that changes after it is in use.

    Args:
        name: of what it will be, for messages.
        finish: makes the object out of its state.
    """

    def __init__(self, name: str, finish: Callable[[Any], Any]) -> None:
        self.__module__, _, self.__qualname__ = name.rpartition(".")
        self.name = name
        self._finish = finish
        self._made: list[Any] = []

    @property
    def is_made(self) -> bool:
        """Whether the state has come."""
        return bool(self._made)

    @property
    def value(self) -> Any:
        """The object, once it is made."""
        return self._made[0]

    def make(self, state: Any) -> Any:
        """The object, out of its state."""
        self._made.append(self._finish(state))
        return self._made[0]
