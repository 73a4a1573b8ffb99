"""Classes of plain data that trainers keep in their state, beyond torch's own list.

A class that is harmless is not so in every call: `list(bytes(10**9))` takes a gigabyte from
a few bytes, `Fraction("1e50000000")` minutes. So a name that a pickle may hold is one thing
(`harmless_globals`), and a call is another: `calls` has, for each function, the arguments
that pickle itself writes, and no others.
"""

from __future__ import annotations

import _codecs
import argparse
import collections
import contextlib
import datetime
import decimal
import fractions
import functools
import io
import pathlib
import pickle
import re
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from dcpcpp import _harmless_numpy, _harmless_torch
from dcpcpp._budget import Budget

Call = Callable[[Budget, tuple[Any, ...]], Any]

_PATHS = (
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)
_NEW_AND_EMPTY = (argparse.Namespace, io.BytesIO, uuid.UUID)  # get a state after __new__
_WITH_ATTRIBUTES = (
    argparse.Namespace,
    collections.Counter,
    collections.OrderedDict,
    types.SimpleNamespace,
)
_FRACTION = re.compile(r"-?\d{1,2000}(/\d{1,2000})?", re.ASCII)
_MAX_FRACTION_BITS = 8192


@functools.cache
def harmless_globals() -> dict[str, Any]:
    """The classes, and functions that make them, by full name.

    Not range: a list of one is any number of bytes from a few.
    """
    classes: list[Any] = [
        argparse.Namespace,
        collections.defaultdict,
        collections.deque,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        fractions.Fraction,
        io.BytesIO,
        *_PATHS,
        types.SimpleNamespace,
        uuid.UUID,
        *(bool, bytes, dict, float, frozenset, int, list, set, slice, str, tuple),
    ]
    names = {f"{c.__module__}.{c.__qualname__}": c for c in classes}
    return {**names, **_harmless_numpy.names()}


@functools.cache
def calls() -> dict[Any, Call]:
    """What a pickle may call, and what that does with a budget and the arguments."""
    return {
        bytes: _with(bytes, ()),
        bytearray: _bytearray,
        complex: _with(complex, (float, float)),
        set: _set_of(set),
        frozenset: _set_of(frozenset),
        slice: lambda _, arguments: slice(*arguments),
        _codecs.encode: _encode,
        collections.OrderedDict: _with(collections.OrderedDict, ()),
        collections.Counter: _with(collections.Counter, (), (dict,)),
        collections.defaultdict: _defaultdict,
        collections.deque: _deque,
        datetime.date: _with(datetime.date, (bytes,)),
        datetime.datetime: _moment(datetime.datetime),
        datetime.time: _moment(datetime.time),
        datetime.timedelta: _with(datetime.timedelta, (int, int, int)),
        datetime.timezone: _with(
            datetime.timezone, (datetime.timedelta,), (datetime.timedelta, str)
        ),
        decimal.Decimal: _with(decimal.Decimal, (str,)),
        fractions.Fraction: _fraction,
        types.SimpleNamespace: _with(types.SimpleNamespace, ()),
        **{path: _path(path) for path in _PATHS},
        **_harmless_numpy.calls(),
        **_harmless_torch.calls(),
    }


def make_new(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """An instance without a state, of one of the classes that pickle makes so."""
    if kind not in _NEW_AND_EMPTY or arguments:
        raise unusual(kind, arguments)
    return kind.__new__(kind)


def set_state(instance: Any, state: Any) -> None:
    """Give `instance` what pickle wrote as its state.

    Raises:
        pickle.UnpicklingError: pickle writes no such state for it.
    """
    kind = type(instance)
    if kind in _WITH_ATTRIBUTES and type(state) is dict and set(map(type, state)) <= {str}:
        instance.__dict__.update(state)
    elif kind is uuid.UUID and _is_uuid(state):
        instance.__setstate__(dict(state))
    elif kind is io.BytesIO and _is_stream(state):
        instance.__setstate__((*state[:2], None))
    else:
        raise pickle.UnpicklingError(
            f"it gives {_name(kind)} a state that pickle does not write for it"
        )


def unusual(function: Any, arguments: tuple[Any, ...]) -> pickle.UnpicklingError:
    """The error for a call that pickle would not write."""
    kinds = ", ".join(_name(type(argument)) for argument in arguments[:8])
    return pickle.UnpicklingError(
        f"it calls {_name(function)} with ({kinds}), which pickle does not write"
    )


@contextlib.contextmanager
def named(function: Any) -> Iterator[None]:
    """What `function` raises within is an error of the pickle that called it."""
    try:
        yield
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # it dislikes its arguments
        reason = f"{_name(function)}: {type(error).__name__}: {error}"
        raise pickle.UnpicklingError(reason) from error


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None)
    name = str(getattr(function, "__qualname__", type(function).__qualname__))
    return name if module in (None, "builtins") else f"{module}.{name}"


def _with(function: Any, *shapes: tuple[type, ...]) -> Call:
    """Calls `function` if the types of its arguments are one of `shapes`, exactly."""

    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if tuple(map(type, arguments)) not in shapes:
            raise unusual(function, arguments)
        return function(*arguments)

    return call


def make_set(budget: Budget, items: list[Any]) -> set[Any]:
    """A set of `items`, which are counted as its keys."""
    made: set[Any] = set()
    budget.check_keys(made, items)
    made.update(items)
    return made


def _set_of(kind: Any) -> Call:
    def call(budget: Budget, arguments: tuple[Any, ...]) -> Any:
        if tuple(map(type, arguments)) not in ((), (list,)):
            raise unusual(kind, arguments)
        return kind(make_set(budget, *arguments or ([],)))

    return call


def _encode(_: Budget, arguments: tuple[Any, ...]) -> bytes:
    """Bytes, as protocol 2 writes them."""
    if tuple(map(type, arguments)) != (str, str) or arguments[1] not in ("latin1", "latin-1"):
        raise unusual(_codecs.encode, arguments)
    return bytes(arguments[0], "latin-1")


def _bytearray(budget: Budget, arguments: tuple[Any, ...]) -> bytearray:
    """Of bytes, or of what protocol 2 makes them of; bytearray(10**9) takes a gigabyte."""
    if tuple(map(type, arguments)) in ((), (bytes,)):
        return bytearray(*arguments)
    return bytearray(_encode(budget, arguments))


def _defaultdict(_: Budget, arguments: tuple[Any, ...]) -> Any:
    if len(arguments) > 1 or not all(
        argument is None or isinstance(argument, type) for argument in arguments
    ):
        raise unusual(collections.defaultdict, arguments)
    return collections.defaultdict(*arguments)


def _deque(_: Budget, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        return collections.deque()
    if len(arguments) != 2 or type(arguments[0]) not in (tuple, list) or arguments[0]:
        raise unusual(collections.deque, arguments)
    if arguments[1] is not None and type(arguments[1]) is not int:
        raise unusual(collections.deque, arguments)
    return collections.deque(maxlen=arguments[1])


def _moment(kind: Any) -> Call:
    """A date and time, or a time: in bytes, and a time zone."""

    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if not 1 <= len(arguments) <= 2 or type(arguments[0]) is not bytes:
            raise unusual(kind, arguments)
        if not all(isinstance(zone, datetime.tzinfo) for zone in arguments[1:]):
            raise unusual(kind, arguments)
        return kind(*arguments)

    return call


def _fraction(_: Budget, arguments: tuple[Any, ...]) -> fractions.Fraction:
    """Of "1/3" (Python 3.11 and before) or of two numbers: not of "1e50000000"."""
    kinds = tuple(map(type, arguments))
    of_text = kinds == (str,) and _FRACTION.fullmatch(arguments[0])
    of_numbers = kinds == (int, int) and all(
        number.bit_length() <= _MAX_FRACTION_BITS for number in arguments
    )
    if not of_text and not of_numbers:
        raise unusual(fractions.Fraction, arguments)
    return fractions.Fraction(*arguments)


def _path(kind: Any) -> Call:
    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if not set(map(type, arguments)) <= {str}:
            raise unusual(kind, arguments)
        return kind(*arguments)

    return call


def _is_uuid(state: Any) -> bool:
    return (
        type(state) is dict
        and set(map(type, state.values())) == {int}
        and {"int"} <= set(state) <= {"int", "is_safe"}
        and 0 <= state["int"] < 1 << 128
    )


def _is_stream(state: Any) -> bool:
    """Whether it is what is in a BytesIO, and where it stands."""
    return (
        type(state) is tuple
        and tuple(map(type, state[:2])) == (bytes, int)
        and len(state) == 3
        and not state[2]
        and 0 <= state[1] <= len(state[0])
    )
