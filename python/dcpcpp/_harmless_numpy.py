"""Arrays, scalars and dtypes of numpy, made without numpy's own unpickling.

`dtype.__setstate__` and `ndarray.__setstate__` take flags, offsets and sizes as they are
told: a dtype whose state says that its objects are not kept in a list makes numpy take the
bytes of a file for addresses. Here a dtype is made out of its description, and must then be
what the pickle says; an array is made out of as many bytes as it needs, or out of a list.
"""

from __future__ import annotations

import datetime
import functools
import math
import pickle
import re
import types
from collections.abc import Callable
from typing import Any

from dcpcpp._budget import Budget
from dcpcpp._pending import Pending

try:
    import numpy as np
except ImportError:
    np = types.SimpleNamespace()  # type: ignore[assignment]  # has_numpy() is asked first

_KIND = re.compile(r"[biufcOSUVMm]\d{0,10}", re.ASCII)
_ORDERS = ("<", ">", "|")
_PARTS = (
    *(bool, int, float, complex, str, bytes, type(None)),
    *(datetime.date, datetime.datetime, datetime.timedelta),
)
_ALIGNED = 0x80  # NPY_ALIGNED_STRUCT
_MAX_NESTING = 8
_FREE_NBYTES = 1 << 16


def has_numpy() -> bool:
    """Whether numpy is there."""
    return hasattr(np, "ndarray")


@functools.cache
def names() -> dict[str, Any]:
    """Numpy's classes and functions that a pickle may name, by full name."""
    if not has_numpy():
        return {}
    found: dict[str, Any] = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    # The same functions under the module names of numpy 1 and numpy 2.
    for function in (*_functions("multiarray", "_reconstruct", "scalar"), *_frombuffer()):
        for package in ("numpy.core", "numpy._core"):
            module = "numeric" if function in _frombuffer() else "multiarray"
            found[f"{package}.{module}.{function.__name__}"] = function
    return found


@functools.cache
def calls() -> dict[Any, Callable[[Budget, tuple[Any, ...]], Any]]:
    """What a pickle may call, and what that does with a budget and the arguments."""
    if not has_numpy():
        return {}
    reconstruct, scalar = _functions("multiarray", "_reconstruct", "scalar")
    return {
        np.dtype: _dtype,
        reconstruct: _reconstruct,
        scalar: _scalar,
        **dict.fromkeys(_frombuffer(), _from_buffer),
    }


def is_numpys(kind: type) -> bool:
    """Whether instances of `kind` have numpy's `__setstate__`, or one on top of it."""
    return has_numpy() and issubclass(kind, (np.ndarray, np.dtype, np.generic))


def _functions(module: str, *wanted: str) -> list[Any]:
    core: Any = getattr(np, "_core", None) or np.core
    return [getattr(getattr(core, module), name) for name in wanted]


def _frombuffer() -> list[Any]:
    """What protocol 5 calls."""
    return _functions("numeric", "_frombuffer")


def _refuse(reason: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"numpy: {reason}")


def _dtype(budget: Budget, arguments: tuple[Any, ...]) -> Pending:
    """`dtype("f8", False, True)`, before its state."""
    kind = arguments[0] if arguments else None
    if (
        type(kind) is not str
        or not _KIND.fullmatch(kind)
        or any(type(flag) not in (bool, int) for flag in arguments[1:])
        or len(arguments) != 3
    ):
        raise _refuse("a dtype of another description than pickle writes")
    return Pending("numpy.dtype", lambda state: _finish_dtype(budget, kind, state))


def _finish_dtype(budget: Budget, kind: str, state: Any) -> Any:
    if type(state) is not tuple or tuple(map(type, state[:2])) != (int, str) or state[0] < 3:
        raise _refuse("a dtype with a state that pickle does not write")
    if len(state) not in (8, 9) or {*map(type, state[5:8])} != {int} or state[1] not in _ORDERS:
        raise _refuse("a dtype with a state that pickle does not write")
    _, order, base, field_names, fields, nbytes, _, flags = state[:8]
    if base is not None:
        made = _subarray_dtype(budget, base)
    elif field_names is not None:
        made = _structured_dtype(budget, (field_names, fields), (nbytes, flags))
    else:
        made = np.dtype(order.strip("|") + kind + _unit_of(kind, state[8:]))
    if made.itemsize > max(budget.nbytes, _FREE_NBYTES):
        raise _refuse(f"a dtype with items of {made.itemsize} bytes, more than the file has")
    _, (made_kind, *_), made_state = made.__reduce__()
    # state[0] is 4 only if there is a ninth part.
    if (made_kind, made_state[1:8]) != (kind, state[1:8]):
        raise _refuse(f"a state of dtype {made} that is not this dtype's")
    return made


def _unit_of(kind: str, metadata: tuple[Any, ...]) -> str:
    """The unit of a datetime64 or timedelta64, as in "[25us]"; empty for other dtypes."""
    if kind[0] not in "mM":
        if metadata and metadata[0]:
            raise _refuse("a dtype with metadata of its own")
        return ""
    match metadata:
        case ((user_metadata, (bytes() as unit, int() as count, int(), int())),) if (
            not user_metadata and unit.isalpha() and 0 < count < 1 << 31
        ):
            return "" if unit == b"generic" else f"[{count}{unit.decode()}]"
    raise _refuse("a datetime64 with a unit that pickle does not write")


def _subarray_dtype(budget: Budget, base: Any) -> Any:
    match base:
        case (np.dtype() as inner, tuple() as shape) if (
            shape and _is_shape(shape) and _nesting(budget, inner) < _MAX_NESTING
        ):
            return np.dtype((inner, shape))
    raise _refuse("a dtype of subarrays that pickle does not write")


def _structured_dtype(
    budget: Budget, names_and_fields: tuple[Any, Any], size_and_flags: tuple[int, int]
) -> Any:
    names, fields = names_and_fields
    nbytes, flags = size_and_flags
    if type(names) is not tuple or type(fields) is not dict:
        raise _refuse("a dtype with fields that pickle does not write")
    budget.charge(64 * len(fields))  # by name, and by title
    if not {*map(type, (*names, *fields))} <= {str} or not all(map(_is_field, fields.values())):
        raise _refuse("a dtype with fields that pickle does not write")
    found = [fields[name] for name in names]
    if any(_nesting(budget, field[0]) >= _MAX_NESTING for field in found):
        raise _refuse(f"a dtype nested more than {_MAX_NESTING} deep")
    # So that there are no more fields, through all levels, than bytes.
    if sum(max(field[0].itemsize, 1) for field in found) > nbytes:
        raise _refuse("a dtype with fields that overlap")
    description = {
        "names": list(names),
        "formats": [field[0] for field in found],
        "offsets": [field[1] for field in found],
        "titles": [field[2] if len(field) == 3 else None for field in found],
        "itemsize": nbytes,
    }
    return np.dtype(description, align=bool(flags & _ALIGNED))  # type: ignore[call-overload]


def _is_field(field: Any) -> bool:
    return (
        type(field) is tuple
        and len(field) in (2, 3)
        and isinstance(field[0], np.dtype)
        and type(field[1]) is int
        and all(type(title) is str for title in field[2:])
    )


def _nesting(budget: Budget, dtype: Any) -> int:
    """How many levels there are."""
    budget.charge(8)
    if dtype.subdtype is not None:
        return 1 + _nesting(budget, dtype.base)
    if dtype.names is None:
        return 0
    inner = (dtype.fields[name][0] for name in dtype.names)
    return 1 + max((_nesting(budget, field) for field in inner), default=0)


def _is_shape(shape: Any) -> bool:
    return type(shape) is tuple and all(type(size) is int and 0 <= size < 1 << 62 for size in shape)


def _reconstruct(budget: Budget, arguments: tuple[Any, ...]) -> Pending:
    """`_reconstruct(ndarray, (0,), b"b")`, before its state."""
    if len(arguments) != 3 or arguments[0] is not np.ndarray or arguments[1:] != ((0,), b"b"):
        raise _refuse("an array of another class than numpy.ndarray")
    return Pending("numpy.ndarray", lambda state: _finish_array(budget, state))


def _finish_array(budget: Budget, state: Any) -> Any:
    match state:
        case (1, tuple() as shape, np.dtype() as dtype, bool() | int() as fortran, data):
            order = "F" if fortran else "C"
            if type(data) is list:
                return _array_of_objects(budget, data, dtype, (shape, order))
            if type(data) is bytes:
                return _array_of_bytes(budget, data, dtype, (shape, order))
    raise _refuse("an array with a state that pickle does not write")


def _from_buffer(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    """As protocol 5 writes an array."""
    match arguments:
        case (bytes() | bytearray() as data, np.dtype() as dtype, tuple() as shape, ("C" | "F")):
            return _array_of_bytes(budget, bytes(data), dtype, (shape, arguments[3]))
    raise _refuse("an array with arguments that pickle does not write")


def _array_of_bytes(budget: Budget, data: bytes, dtype: Any, layout: tuple[Any, Any]) -> Any:
    shape, order = layout
    count = _count(shape)
    if dtype.hasobject or count * dtype.itemsize != len(data):
        raise _refuse(f"an array of {shape} items of {dtype} in {len(data)} bytes")
    if not data:  # which frombuffer dislikes
        budget.charge(count)
        return _require(np.empty(shape, dtype), dtype)
    budget.charge(len(data))
    array = np.frombuffer(data, dtype).reshape(shape, order=order).copy(order="K")
    return _require(array, dtype)


def _array_of_objects(budget: Budget, items: Any, dtype: Any, layout: tuple[Any, Any]) -> Any:
    shape, order = layout
    if not dtype.hasobject or _count(shape) != len(items):
        raise _refuse(f"an array of {shape} items of {dtype} in a list of {len(items)}")
    budget.charge(len(items) * dtype.itemsize)
    array = np.empty(len(items), dtype)
    for place, item in enumerate(items):
        _check_item(dtype, item)
        array[place] = item
    return _require(array.reshape(shape).copy(order=order), dtype)


def _check_item(dtype: Any, item: Any) -> None:
    """Refuse an item that numpy would convert: what takes str() or int() of an object?"""
    if dtype.subdtype is not None:
        fits = type(item) is np.ndarray and item.dtype == dtype.base
    elif dtype.names is not None:
        fits = type(item) is tuple and len(item) == len(dtype.names)
        for name, part in zip(dtype.names, item if fits else (), strict=False):
            _check_item(dtype.fields[name][0], part)
    else:
        fits = dtype.hasobject or type(item) in _PARTS or isinstance(item, np.generic)
    if not fits:
        raise _refuse(f"an item of {dtype} that is a {type(item).__qualname__}")


def _scalar(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    """`scalar(dtype, bytes)`."""
    if (
        len(arguments) != 2
        or not isinstance(arguments[0], np.dtype)
        or type(arguments[1]) is not bytes
    ):
        raise _refuse("a scalar that is not made of bytes")
    dtype, data = arguments
    if not data and dtype.kind in "SU":
        return dtype.type()
    if not data:
        raise _refuse("a scalar of no bytes")
    return _array_of_bytes(budget, data, dtype, ((), "C"))[()]


def _count(shape: Any) -> int:
    if not _is_shape(shape) or len(shape) > 64:
        raise _refuse("an array with a shape that is none")
    return math.prod(shape)


def _require(array: Any, dtype: Any) -> Any:
    """`array`, if it has this dtype and values that numpy itself would put there."""
    if array.dtype != dtype:
        raise _refuse(f"an array of {dtype}, which is no dtype of an array")
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise _refuse("a bool that is neither true nor false")
    if dtype.kind == "U" and array.size:
        codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF:
            raise _refuse("a character beyond Unicode")
    return array
