"""States to save, and comparisons that look at every bit."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

# What the planner's structures make of a tensor that is stored whole.
_CONTAINERS = (list, tuple)


def ramp(*sizes: int, dtype: torch.dtype = torch.float32, start: int = 0) -> torch.Tensor:
    """Consecutive numbers from `start`, in row-major order."""
    numel = torch.Size(sizes).numel()
    return torch.arange(start, start + numel, dtype=torch.float32).to(dtype).reshape(sizes)


def bits(tensor: torch.Tensor) -> bytes:
    """The row-major bytes of a tensor's values."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    plain = plain.clone(memory_format=torch.contiguous_format)
    return bytes(plain.reshape(-1).view(torch.uint8).numpy())


def blank(value: Any) -> Any:
    """A copy of a nested state whose tensors hold other values, and leaves nothing.

    A load that forgets a tensor leaves traces: every byte is 0x55.
    """
    if isinstance(value, Mapping):
        return {key: blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [blank(item) for item in value]
    if isinstance(value, torch.Tensor):
        filled = torch.full((value.numel() * value.element_size(),), 0x55, dtype=torch.uint8)
        if value.dtype == torch.bool:
            filled.fill_(0)
        return filled.view(value.dtype).reshape(value.shape)
    return None


def require_equal(actual: Any, expected: Any, where: str = "state") -> None:
    """Raise AssertionError unless both are equal: containers, types, dtypes, bits."""
    if isinstance(expected, torch.Tensor):
        _require_equal_tensors(actual, expected, where)
    elif isinstance(expected, Mapping):
        assert isinstance(actual, Mapping), f"{where}: {type(actual)}, expected a mapping"
        assert list(actual) == list(expected), f"{where}: keys {list(actual)} != {list(expected)}"
        for key in expected:
            require_equal(actual[key], expected[key], f"{where}.{key}")
    elif type(expected) in _CONTAINERS:
        assert type(actual) is type(expected), f"{where}: {type(actual)} != {type(expected)}"
        assert len(actual) == len(expected), f"{where}: {len(actual)} items, not {len(expected)}"
        for number, (left, right) in enumerate(zip(actual, expected, strict=True)):
            require_equal(left, right, f"{where}[{number}]")
    else:
        assert type(actual) is type(expected), f"{where}: {type(actual)} != {type(expected)}"
        assert actual == expected, f"{where}: {actual!r} != {expected!r}"


def _require_equal_tensors(actual: Any, expected: torch.Tensor, where: str) -> None:
    assert isinstance(actual, torch.Tensor), f"{where}: {type(actual)}, expected a tensor"
    assert actual.dtype == expected.dtype, f"{where}: {actual.dtype} != {expected.dtype}"
    assert actual.shape == expected.shape, f"{where}: {actual.shape} != {expected.shape}"
    assert bits(actual) == bits(expected), f"{where}: values differ"


def require_same_meaning(actual: Metadata, expected: Metadata) -> None:
    """Raise AssertionError unless both describe the same tensors, chunks and objects.

    Files, offsets, lengths and ids may differ; the order of keys and chunks may too.
    """
    entries, others = actual.state_dict_metadata, expected.state_dict_metadata
    assert set(entries) == set(others), set(entries) ^ set(others)
    for fqn, other in others.items():
        entry = entries[fqn]
        assert type(entry) is type(other), f"{fqn}: {entry} != {other}"
        if isinstance(other, BytesStorageMetadata):
            continue
        assert entry.properties == other.properties, f"{fqn}: {entry} != {other}"
        assert entry.size == other.size, f"{fqn}: {entry} != {other}"
        assert _boxes(entry) == _boxes(other), f"{fqn}: {entry} != {other}"
    assert actual.planner_data == expected.planner_data
    assert set(actual.storage_data) == set(expected.storage_data)
    assert actual.version == expected.version
    _require_hints(actual)


def _boxes(entry: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return sorted((tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in entry.chunks)


def _require_hints(metadata: Metadata) -> None:
    """The index of each stored item must be the position of its chunk."""
    for index in metadata.storage_data:
        entry = metadata.state_dict_metadata[index.fqn]
        if index.offset is None:
            assert isinstance(entry, BytesStorageMetadata), index
        else:
            assert entry.chunks[index.index].offsets == index.offset, index


def clone(value: Any) -> Any:
    """A deep copy that shares nothing."""
    return copy.deepcopy(value)


def fingerprints(state: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flat key -> what is in it; equal if and only if the leaves are equal.

    DTensors count as the whole tensor, which is collective. Small enough to be sent
    between processes, which tensors are not made for.
    """
    found: dict[str, str] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            found.update(fingerprints(value, f"{prefix}{key}."))
        elif isinstance(value, torch.Tensor):
            whole = value.full_tensor() if hasattr(value, "full_tensor") else value
            digest = hashlib.sha256(bits(whole)).hexdigest()
            found[f"{prefix}{key}"] = f"{whole.dtype} {tuple(whole.shape)} {digest}"
        else:
            found[f"{prefix}{key}"] = repr(value)
    return found
