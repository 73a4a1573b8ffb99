"""What decoding an object may cost: no more than a file of its size can need."""

from __future__ import annotations

import collections
import decimal
import fractions
import pickle
from collections.abc import Iterable
from typing import Any

_PER_BYTE = 16  # steps for each byte of the pickle: one that Python wrote takes fewer than 9
_FREE = 1 << 16
_MAX_DEPTH = 100  # hash() of a tuple recurses without a limit of its own
_MAX_EQUAL_HASHES = 64  # keys of one container: each looks at all before it
_SIZED: dict[Any, int] = {str: 1, bytes: 1, bytearray: 1, tuple: 8, list: 8, dict: 8}


class Budget:
    """Counts the steps that one pickle asks for.

    A memo makes each step of a pickle as cheap as two bytes, so that what is linear in
    its argument (a copy, a hash) is not linear in the file.

    Args:
        nbytes: of the pickle.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._left = _PER_BYTE * nbytes + _FREE
        self._tuples: dict[int, tuple[int, int]] = {}  # by id: leaves in it, and depth
        # By id: a container, kept so that its id stays its own, and its keys' hashes.
        self._hashes: dict[int, tuple[Any, collections.Counter[int]]] = {}

    def charge(self, steps: int) -> None:
        """Take `steps` off.

        Raises:
            pickle.UnpicklingError: none are left.
        """
        self._left -= steps
        if self._left < 0:
            raise pickle.UnpicklingError("it takes more steps than a file of its size can need")

    def charge_arguments(self, arguments: tuple[Any, ...]) -> None:
        """Take off what a look at all of `arguments` costs."""
        steps = len(arguments)
        for argument in arguments:
            if type(argument) in _SIZED:
                steps += _SIZED[type(argument)] * len(argument)
        self.charge(steps)

    def note_tuple(self, value: tuple[Any, ...]) -> None:
        """Learn how much is in a new tuple: to be called for each."""
        leaves, depth = len(value), 1
        for item in value:
            if type(item) is tuple:
                inner_leaves, inner_depth = self._tuples.get(id(item), (len(item), 1))
                leaves, depth = leaves + inner_leaves, max(depth, inner_depth + 1)
            else:
                leaves += _leaves(item)
        if depth > _MAX_DEPTH:
            raise pickle.UnpicklingError(f"it holds tuples more than {_MAX_DEPTH} deep")
        self._tuples[id(value)] = (leaves, depth)

    def check_keys(self, container: Any, keys: Iterable[Any]) -> None:
        """Take off what it costs to hash `keys`, and to put them into `container`."""
        hashes: collections.Counter[int] | None = None
        for key in keys:
            known = self._tuples.get(id(key)) if type(key) is tuple else None
            self.charge(known[0] if known else 1 + _leaves(key))
            if type(key) is str:
                continue  # its hash is this process's secret
            if hashes is None:
                _, hashes = self._hashes.setdefault(
                    id(container), (container, collections.Counter())
                )
            number = hash(key)
            hashes[number] += 1
            if hashes[number] > _MAX_EQUAL_HASHES:
                raise pickle.UnpicklingError(
                    f"it holds more than {_MAX_EQUAL_HASHES} keys with one hash"
                )


def _leaves(value: Any) -> int:
    """Steps, about, to hash or compare `value`, which is no tuple of the pickle's."""
    kind = type(value)
    if kind in (str, bytes):
        return len(value) >> 6
    if kind is int:
        return int(value.bit_length()) >> 6
    if isinstance(value, (tuple, frozenset)):
        return len(value)
    if kind is fractions.Fraction:
        return 16 + int(value.numerator.bit_length() + value.denominator.bit_length())
    if kind is decimal.Decimal:
        return int(value.__sizeof__())
    return 1
