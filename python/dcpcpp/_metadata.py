"""torch's Metadata from the bytes of `.metadata`, made when somebody looks at it."""

from __future__ import annotations

import io
import pickle
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core

# What libdcp's writer names (src/format/FORMAT.md). Its parser read the bytes before,
# so this is the second of two locks.
_MODULES = {
    "torch.distributed.checkpoint.metadata",
    "torch.distributed.checkpoint.filesystem",
    "torch.serialization",
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES or module == "torch":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of checkpoint metadata")


def unpickle_canonical(data: bytes) -> Metadata:
    """Torch's object of bytes that libdcp wrote."""
    metadata: Metadata = _MetadataUnpickler(io.BytesIO(data)).load()
    return metadata


def from_core(metadata: _core.Metadata) -> Metadata:
    """Torch's object of metadata that libdcp parsed."""
    return unpickle_canonical(_core.serialize_metadata(metadata))


class LazyMetadata(Metadata):
    """A `Metadata` that is still bytes, and becomes a plain one when it is first used.

    A save of 100,000 tensors would otherwise spend more time on Python objects that
    nobody looks at than on the tensors.
    """

    def __init__(self, data: bytes) -> None:
        # Not the dataclass's __init__: there are no fields yet.
        object.__setattr__(self, "_data", data)

    def _materialize(self) -> None:
        data = object.__getattribute__(self, "__dict__").pop("_data")
        fields = vars(unpickle_canonical(data))
        object.__setattr__(self, "__class__", Metadata)
        vars(self).update(fields)

    def __getattribute__(self, name: str) -> Any:
        LazyMetadata._materialize(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        LazyMetadata._materialize(self)
        setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        LazyMetadata._materialize(self)
        return bool(self == other)

    def __repr__(self) -> str:
        LazyMetadata._materialize(self)
        return repr(self)

    __hash__ = None  # type: ignore[assignment]  # as in torch: an eq dataclass
