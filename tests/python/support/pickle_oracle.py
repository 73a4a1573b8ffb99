"""What CPython's own unpickler makes of `.metadata`, with stand-ins for torch's names.

The stand-ins take whatever a pickle can do to a class: parts of a checkpoint that nobody
reads may hold anything.
"""

from __future__ import annotations

import collections
import enum
import io
import pathlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.serialization import _get_layout


class MalformedError(Exception):
    """Unpickled, but no metadata."""


class _Stub:
    """Stands for a class."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            vars(self).update(state)


class _Metadata(_Stub): ...


class _Tensor(_Stub): ...


class _Chunk(_Stub): ...


class _Bytes(_Stub): ...


class _StorageInfo(_Stub): ...


class _Foreign(_Stub):
    """Nothing is known of it: it may as well be a list or a dict."""

    def append(self, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


class _Index(_Stub):
    """MetadataIndex: equal to those of the same key and offset."""

    def _key(self) -> tuple[object, object]:
        return vars(self).get("fqn"), vars(self).get("offset")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Index) and self._key() == other._key()

    def __hash__(self) -> int:
        return 0  # whatever the parts are


class _Properties(_Stub):
    """TensorProperties of any version of torch: later ones append to its state."""

    def __setstate__(self, state: Any) -> None:
        names = ("dtype", "layout", "requires_grad", "memory_format", "pin_memory")
        if isinstance(state, (tuple, list)) and len(state) >= len(names):
            vars(self).update(zip(names, state, strict=False))


class _Format(enum.Enum):
    """As torch's _MEM_FORMAT_ENCODING, and MEM_FORMAT_ENCODING until torch 2.2."""

    TORCH_CONTIGUOUS_FORMAT = 0
    TORCH_CHANNELS_LAST = 1
    TORCH_PRESERVE_FORMAT = 2


def _calls(make: Callable[..., object]) -> type:
    """A class whose instances are what `make` returns, or stubs where it fails."""

    def new(cls: type, *args: object) -> object:
        try:
            return make(*args)
        except Exception:
            return _Stub()

    return type("Calls", (), {"__new__": new})


_format = _calls(_Format)


def _getattr(owner: object, name: str) -> object:
    return _Format[name] if owner is _format else _Stub()


def _known() -> Iterator[tuple[str, str, Any]]:
    for module in ("torch.distributed.checkpoint", "torch.distributed._shard.checkpoint"):
        yield f"{module}.metadata", "Metadata", _Metadata
        yield f"{module}.metadata", "TensorStorageMetadata", _Tensor
        yield f"{module}.metadata", "ChunkStorageMetadata", _Chunk
        yield f"{module}.metadata", "BytesStorageMetadata", _Bytes
        yield f"{module}.metadata", "MetadataIndex", _Index
        yield f"{module}.metadata", "TensorProperties", _Properties
        yield f"{module}.metadata", "_MEM_FORMAT_ENCODING", _format
        yield f"{module}.filesystem", "_StorageInfo", _StorageInfo
    sharded_tensor = "torch.distributed._shard.sharded_tensor.metadata"
    yield sharded_tensor, "TensorProperties", _Properties
    yield sharded_tensor, "MEM_FORMAT_ENCODING", _format
    yield "megatron.core.dist_checkpointing.strategies.torch", "MCoreMetadata", _Metadata
    for module in ("pathlib", "pathlib._local"):
        for name in ("PosixPath", "PurePosixPath", "Path", "PurePath"):
            yield module, name, _calls(getattr(pathlib, name))
    for module in ("builtins", "__builtin__"):
        yield module, "getattr", _calls(_getattr)
    yield "torch", "Size", _calls(torch.Size)
    yield "torch.serialization", "_get_layout", _calls(_get_layout)
    yield "collections", "OrderedDict", _calls(collections.OrderedDict)
    for name, value in vars(torch).items():
        if isinstance(value, torch.dtype):
            yield "torch", name, value


_KNOWN = {(module, name): value for module, name, value in _known()}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get((module, name), _Foreign)


def unpickle(data: bytes) -> Any:
    """What CPython makes of `data`; any exception is a refusal."""
    return _Unpickler(io.BytesIO(data)).load()


def canonical(loaded: Any) -> dict[str, Any]:
    """What a load uses of unpickled metadata, as plain values.

    Raises:
        MalformedError: it is no metadata.
    """
    _require(type(loaded) is _Metadata)
    entries = _attribute(loaded, "state_dict_metadata")
    _require(isinstance(entries, dict))
    stored = vars(loaded).get("storage_data")
    _require(stored is None or isinstance(stored, dict))
    return {
        "entries": {_text(key): _entry(value) for key, value in entries.items()},
        "places": dict(_place(index, info) for index, info in (stored or {}).items()),
    }


def _entry(value: Any) -> Any:
    if type(value) is _Bytes:
        return "bytes"
    _require(type(value) is _Tensor)
    properties = _attribute(value, "properties")
    _require(type(properties) is _Properties)
    fields = [_attribute(properties, name) for name in ("requires_grad", "pin_memory")]
    kinds = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": _Format}
    for name, kind in kinds.items():
        field = _attribute(properties, name)
        _require(isinstance(field, kind))
        fields.append(str(field))
    chunks = _attribute(value, "chunks")
    _require(isinstance(chunks, (list, tuple)))
    return (*fields, _ints(_attribute(value, "size")), [_chunk(chunk) for chunk in chunks])


def _chunk(chunk: Any) -> tuple[Any, Any]:
    _require(type(chunk) is _Chunk)
    return _ints(_attribute(chunk, "offsets")), _ints(_attribute(chunk, "sizes"))


def _place(index: Any, info: Any) -> tuple[Any, Any]:
    _require(type(index) is _Index and type(info) is _StorageInfo)
    offset = vars(index).get("offset")
    transforms = vars(info).get("transform_descriptors")
    _require(transforms is None or isinstance(transforms, (list, tuple)))
    where = (
        _text(_attribute(info, "relative_path")),
        _int(_attribute(info, "offset")),
        _int(_attribute(info, "length")),
        [_text(item) for item in transforms or ()],
    )
    key = (_text(_attribute(index, "fqn")), None if offset is None else _ints(offset))
    return key, where


def _attribute(owner: Any, name: str) -> Any:
    _require(name in vars(owner))
    return vars(owner)[name]


def _ints(value: Any) -> tuple[int, ...]:
    _require(isinstance(value, (torch.Size, tuple, list)))
    return tuple(_int(item) for item in value)


def _int(value: Any) -> int:
    _require(type(value) is int)
    return int(value)


def _text(value: Any) -> str:
    _require(type(value) is str)
    return str(value)


def _require(held: bool) -> None:
    if not held:
        raise MalformedError
