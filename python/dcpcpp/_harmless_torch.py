"""Tensors within objects, and torch's small classes, made only out of what torch writes.

torch's functions check much of what they are given, but not that a view lies in the bytes of
the file (`set_` makes a storage larger), and `_rebuild_from_type_v2` calls what it is given.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import _utils

from dcpcpp._budget import Budget

Call = Callable[[Budget, tuple[Any, ...]], Any]

_STORAGES = (torch.storage.TypedStorage, torch.storage.UntypedStorage)


def calls() -> dict[Any, Call]:
    """What a pickle may call, and what that does with a budget and the arguments."""
    functions: dict[Any, Call] = {
        torch.Size: _size,
        torch.device: _device,
        torch.serialization._get_layout: _layout,
        torch._tensor._rebuild_from_type_v2: _from_type,
    }
    return {**functions, **_makers()}


def check_storage(saved_id: Any, nbytes_of: Callable[[str], int]) -> None:
    """Refuse a storage that is not as large as its record in the file.

    Args:
        saved_id: as the pickle has it.
        nbytes_of: the size of the record of this name.

    Raises:
        pickle.UnpicklingError: it is larger or smaller, or no storage.
    """
    match saved_id:
        case ("storage", kind, str() as key, str(), int() as numel):
            dtype = torch.uint8 if kind is torch.UntypedStorage else getattr(kind, "dtype", None)
            if isinstance(dtype, torch.dtype):
                nbytes = numel * dtype.itemsize
                if nbytes == nbytes_of(f"data/{key}"):
                    return
                raise _refuse(f"a storage of {nbytes} bytes, other than its record's")
    raise _refuse("a storage that torch does not write")


def _refuse(reason: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"torch.Tensor: {reason}")


def _makers() -> dict[Any, Call]:
    """Functions that make a tensor."""
    made_by: dict[str, Callable[[Any], Call]] = {
        "_rebuild_tensor": _view,
        "_rebuild_tensor_v2": _view,
        "_rebuild_tensor_v3": _view,
        "_rebuild_qtensor": _view,
        "_rebuild_parameter": _parameter,
        "_rebuild_parameter_with_state": _parameter,
        "_rebuild_nested_tensor": _nested,
        "_rebuild_sparse_tensor": _as_it_is,
        "_rebuild_meta_tensor_no_storage": _as_it_is,
        "_rebuild_wrapper_subclass": _as_it_is,
        "_rebuild_device_tensor_from_numpy": _as_it_is,
        "_rebuild_device_tensor_from_cpu_tensor": _as_it_is,
    }
    functions = {name: getattr(_utils, name, None) for name in made_by}
    return {f: made_by[name](f) for name, f in functions.items() if f is not None}


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(item) is int and item >= 0 for item in value)


def _size(_: Budget, arguments: tuple[Any, ...]) -> torch.Size:
    if len(arguments) != 1 or type(arguments[0]) is not tuple or not _numbers(arguments[0]):
        raise pickle.UnpicklingError("torch.Size: of something else than a tuple of sizes")
    return torch.Size(arguments[0])


def _device(_: Budget, arguments: tuple[Any, ...]) -> torch.device:
    if tuple(map(type, arguments)) not in ((str,), (str, int)):
        raise pickle.UnpicklingError("torch.device: of something else than a name")
    return torch.device(*arguments)


def _layout(_: Budget, arguments: tuple[Any, ...]) -> Any:
    if tuple(map(type, arguments)) != (str,):
        raise pickle.UnpicklingError("torch.layout: of something else than a name")
    layout_of: Any = torch.serialization._get_layout
    return layout_of(*arguments)


def _without_hooks(arguments: tuple[Any, ...]) -> list[Any]:
    """Torch writes an empty OrderedDict for the hooks; who knows who else holds this one?"""
    return [
        collections.OrderedDict() if type(argument) is collections.OrderedDict else argument
        for argument in arguments
    ]


def _view(function: Any) -> Call:
    """A tensor that is a part of a storage."""

    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) < 4 or not isinstance(arguments[0], _STORAGES):
            raise _refuse("one without a storage")
        storage, offset, sizes, strides = arguments[:4]
        if not _numbers((offset,)) or not _numbers(sizes) or not _numbers(strides):
            raise _refuse("one with sizes or strides that are none")
        dtype = next((a for a in arguments[4:] if isinstance(a, torch.dtype)), storage.dtype)
        if len(sizes) != len(strides) or not _fits(arguments[:4], dtype.itemsize):
            raise _refuse(f"one of sizes {tuple(sizes)} that its storage does not hold")
        return function(*_without_hooks(arguments))

    return call


def _fits(view: tuple[Any, ...], itemsize: int) -> bool:
    storage, offset, sizes, strides = view
    if 0 in sizes:
        return True
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    return bool((last + 1) * itemsize <= storage.nbytes())


def _parameter(function: Any) -> Call:
    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) not in (3, 4) or not isinstance(arguments[0], torch.Tensor):
            raise _refuse("a parameter without a tensor")
        for state in arguments[3:]:
            _check_attributes(state)
        return function(*_without_hooks(arguments[:3]), *arguments[3:])

    return call


def _nested(function: Any) -> Call:
    """A tensor of tensors, whose places torch does not compare with the buffer."""

    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != 4 or not all(isinstance(a, torch.Tensor) for a in arguments):
            raise _refuse("a nested one that torch does not write")
        buffer, *places = arguments
        if any(place.dtype != torch.int64 or place.device.type != "cpu" for place in places):
            raise _refuse("a nested one that torch does not write")
        sizes, strides, offsets = (place.tolist() for place in places)
        if [place.dim() for place in arguments] != [1, 2, 2, 1]:
            raise _refuse("a nested one that torch does not write")
        for size, stride, offset in zip(sizes, strides, offsets, strict=True):
            if not _numbers((offset, *size, *stride)) or not _fits(
                (buffer.untyped_storage(), offset, size, stride), buffer.element_size()
            ):
                raise _refuse("a nested one that its buffer does not hold")
        return function(*arguments)

    return call


def _as_it_is(function: Any) -> Call:
    """Of what torch checks itself."""

    def call(_: Budget, arguments: tuple[Any, ...]) -> Any:
        return function(*arguments)

    return call


def _from_type(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    """A tensor that is of another class, or has attributes."""
    if len(arguments) != 4:
        raise _refuse("one of a class of its own that torch does not write")
    function, kind, inner, state = arguments
    if not isinstance(kind, type) or not issubclass(kind, torch.Tensor) or type(inner) is not tuple:
        raise _refuse("one of a class that is no tensor's")
    maker = next((call for known, call in _makers().items() if known is function), None)
    if maker is None:
        raise _refuse(f"one made by {getattr(function, '__qualname__', function)}")
    if getattr(kind, "__setstate__", None) is torch.Tensor.__setstate__:
        _check_attributes(state)
    made = maker(budget, inner)
    rebuild: Any = torch._tensor._rebuild_from_type_v2
    return rebuild(lambda: made, kind, (), state)


def _check_attributes(state: Any) -> None:
    """Refuse to set what is torch's own, such as `data`."""
    for attributes in state if type(state) is tuple else (state,):
        if attributes is None:
            continue
        if type(attributes) is not dict or not {*map(type, attributes)} <= {str}:
            raise _refuse("one with attributes that torch does not write")
        own = next((name for name in attributes if hasattr(torch.Tensor, name)), None)
        if own is not None:
            raise _refuse(f"one with an attribute of the name {own!r}")


def record_sizes(archive: Any, data: bytes) -> Callable[[str], int]:
    """What gives the size of a record by its name."""
    if hasattr(archive, "get_record_size"):
        sizes: Callable[[str], int] = archive.get_record_size
        return sizes
    # An older torch, which looks in the directory of the zip file, as zipfile does.
    with zipfile.ZipFile(io.BytesIO(data)) as records:
        by_name = {
            name.partition("/")[2]: records.getinfo(name).file_size for name in records.namelist()
        }
    return by_name.__getitem__
