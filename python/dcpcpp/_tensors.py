"""Tensors of a state dict as entries for libdcp: plain, DTensor, ShardedTensor.

An entry is a plain tuple that the binding reads without calling back into Python:

    save: (fqn, address, dtype, sizes, strides, device, stream, op, global_sizes, offsets,
           item_type, requires_grad, encoded, path)
    load: (fqn, address, dtype, sizes, strides, device, stream, op, global_sizes, offsets)

`dtype` is libdcp's code, `device` is -1 for the CPU or the CUDA ordinal, `op` what torch's
conjugate or negative bit leaves to be done (dcp::ElementOp), `global_sizes` and `offsets`
are None for a tensor that is whole; `offsets` of a save may be a layout (`_mesh_layouts`)
that they follow from, `encoded` holds the bytes of `torch.save` for tensors
that libdcp does not take apart (quantized, wrapper subclasses).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItemType

from dcpcpp import _core
from dcpcpp._decoded import torch_save
from dcpcpp._memory import NO_OP, PLAIN_TYPES, op_of, require_memory, require_own_memory
from dcpcpp._mesh_layouts import MeshLayouts
from dcpcpp._shards import (
    chunks_of,
    global_size,
    is_dtensor,
    is_sharded_tensor,
    local_shards,
    require_shape,
    shard_of,
    write_items_of,
)
from dcpcpp._state_dict import Path

_DTYPES: dict[torch.dtype, int] = {
    getattr(torch, name): code for name, code in _core.dtype_codes().items() if hasattr(torch, name)
}
_DTYPES_BY_CODE = {code: dtype for dtype, code in _DTYPES.items()}

_TENSOR = WriteItemType.TENSOR.value
_SHARD = WriteItemType.SHARD.value
_CPU = -1

Entry = tuple[Any, ...]


def dtype_of_code(code: int) -> torch.dtype:
    """The torch dtype of libdcp's dtype code."""
    return _DTYPES_BY_CODE[code]


def code_of_dtype(dtype: torch.dtype) -> int:
    """Libdcp's code of a torch dtype; raises ValueError for one it does not know."""
    try:
        return _DTYPES[dtype]
    except KeyError:
        raise ValueError(f"dcpcpp cannot store tensors of dtype {dtype}") from None


def is_tensor(value: object) -> bool:
    """Whether a leaf is stored as a tensor rather than as a pickled object."""
    return isinstance(value, torch.Tensor)


def nbytes_of(entry: Entry) -> int:
    """Bytes of the tensor that `entry` refers to."""
    return math.prod(entry[3]) * _DTYPES_BY_CODE[entry[2]].itemsize


def device_of(entry: Entry) -> int:
    """The CUDA device that the tensor of `entry` is on; negative for the CPU."""
    return int(entry[5])


class EntryMaker:
    """Makes entries and keeps alive the temporary tensors that they point to.

    Args:
        applies_ops: conjugate and negative bits are left to the writer, which applies them
            piece by piece; else such a tensor is copied as a whole.
        layouts: of the ranks that save; None: libdcp is not told how DTensors lie over them.
    """

    def __init__(self, *, applies_ops: bool = False, layouts: MeshLayouts | None = None) -> None:
        self._applies_ops = applies_ops
        self._layouts = layouts
        self.keep_alive: list[object] = []
        # What each entry of load_entries fills: the tensor or this rank's shard.
        self.destinations: list[torch.Tensor] = []
        self._streams: dict[int, int] = {}
        self._landings: list[tuple[torch.Tensor, torch.Tensor]] = []

    def finish_load(self) -> None:
        """Copy what was loaded into a stand-in to where it belongs."""
        for destination, landing in self._landings:
            destination.copy_(landing)

    def save_entries(self, fqn: str, value: Any, path: Path) -> Iterator[Entry]:
        """Yield what this rank holds of the tensor-like `value`.

        Raises:
            NotImplementedError: a meta or sparse tensor, which have no bytes to store.
            ValueError: a DTensor whose local tensor is not what its placements say.
        """
        if type(value) in PLAIN_TYPES:
            yield self._save_entry(fqn, value, None, None, _TENSOR, value.requires_grad, path)
        elif is_dtensor(value) and value.device_mesh.get_coordinate() is None:
            return  # this rank is outside of the tensor's mesh
        elif self._layouts is not None and (layout := self._layouts.of(value)) is not None:
            # What to_local() would say, without asking autograd for each tensor.
            local, size = value._local_tensor, tuple(value.size())
            has_grad = (value if torch.is_grad_enabled() else local).requires_grad
            yield self._save_entry(fqn, local, size, layout, _SHARD, has_grad, path)
        elif hasattr(value, "__create_write_items__") or is_dtensor(value):
            yield from self._save_checkpointable(fqn, value, path)
        elif is_sharded_tensor(value):
            for tensor, offsets in local_shards(value):
                size = tuple(value.metadata().size)
                yield self._save_entry(fqn, tensor, size, offsets, _SHARD, False, path)
        else:
            yield self._save_entry(fqn, value, None, None, _TENSOR, value.requires_grad, path)

    def load_entries(
        self, fqn: str, value: Any, metadata: _core.Metadata | None = None
    ) -> Iterator[Entry]:
        """Yield where the parts of `fqn` that this rank wants are to go.

        `metadata` is the checkpoint's: objects that do not know their global shape, of
        which torch's protocol asks only for chunks, take the stored one.
        """
        if type(value) in PLAIN_TYPES:
            yield (fqn, *self.destination(fqn, value), None, None)
        elif is_dtensor(value) and value.device_mesh.get_coordinate() is None:
            return
        elif hasattr(value, "__create_chunk_list__") or is_dtensor(value):
            size = global_size(fqn, value, metadata)
            for number, chunk in enumerate(chunks_of(value)):
                index = MetadataIndex(fqn, chunk.offsets, number)
                shard = shard_of(value, index)
                require_shape(fqn, shard, chunk)
                view = self.destination(fqn, shard)
                yield (fqn, *view, size or tuple(chunk.sizes), tuple(chunk.offsets))
        elif is_sharded_tensor(value):
            size = tuple(value.metadata().size)
            for tensor, offsets in local_shards(value):
                yield (fqn, *self.destination(fqn, tensor), size, offsets)
        else:
            yield (fqn, *self.destination(fqn, value), None, None)

    def _save_checkpointable(self, fqn: str, value: Any, path: Path) -> Iterator[Entry]:
        for item in write_items_of(fqn, value):
            shard = shard_of(value, item.index)
            data: Any = item.tensor_data
            require_shape(fqn, shard, data.chunk)
            yield self._save_entry(
                item.index.fqn,
                shard,
                tuple(data.size),
                tuple(data.chunk.offsets),
                item.type.value,
                data.properties.requires_grad,
                path,
            )

    def _save_entry(
        self,
        fqn: str,
        tensor: torch.Tensor,
        global_sizes: tuple[int, ...] | None,
        offsets: tuple[int, ...] | _core.MeshLayout | None,
        item_type: int,
        requires_grad: bool,
        path: Path,
    ) -> Entry:
        encoded = None
        if _needs_torch(tensor):
            encoded = _encoded(fqn, tensor)
            view: Entry = (0, _DTYPES[tensor.dtype], tuple(tensor.size()), (), _CPU, 0, NO_OP)
        else:
            plain, op = self._storable(fqn, tensor)
            view = self._view(plain, op)
        place = (global_sizes, offsets, item_type, requires_grad, encoded, path)
        return (fqn, *view, *place)

    def _storable(self, fqn: str, tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
        """`tensor`, or a copy that has plain strided memory on the CPU or on CUDA; its op."""
        plain_type = type(tensor) in PLAIN_TYPES and tensor.layout is torch.strided
        if plain_type and tensor.is_cpu:
            require_memory(fqn, tensor)
            op = op_of(tensor)
            if op == NO_OP or (self._applies_ops and op is not None):
                return tensor, op
        if tensor.is_meta:
            raise NotImplementedError(f"Cannot copy out of meta tensor; no data! ({fqn})")
        if tensor.layout is not torch.strided:
            raise NotImplementedError(
                f"tensors of layout {tensor.layout} are not stored, as in torch ({fqn})"
            )
        plain = tensor.detach()
        if plain.is_cpu or plain.is_cuda:
            require_memory(fqn, plain)
        plain = plain.resolve_conj().resolve_neg()
        if not (plain.is_cpu or plain.is_cuda):
            plain = plain.cpu()
        if plain.is_cuda:
            plain = plain.contiguous()
        self.keep_alive.append(plain)
        return plain, NO_OP

    def payload(self, fqn: str, tensor: torch.Tensor) -> tuple[Any, ...] | bytes:
        """What libdcp writes for `tensor`: a view that carries the tensor, or bytes."""
        if _needs_torch(tensor):
            return _encoded(fqn, tensor)
        plain, op = self._storable(fqn, tensor.detach())
        return (*self._view(plain, op), plain)

    def destination(self, fqn: str, tensor: torch.Tensor) -> Entry:
        """The view that libdcp fills for `tensor`; see finish_load."""
        self.destinations.append(tensor)
        return self._view(self._loadable(fqn, tensor), NO_OP)

    def _loadable(self, fqn: str, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor`, or a stand-in of its shape if its memory is not plain."""
        tensor = tensor.detach()
        if tensor.layout is torch.strided and 0 in tensor.stride():
            require_own_memory(tensor)
        if tensor.is_quantized:
            return tensor  # what is stored for it, torch decodes
        plain = tensor.layout is torch.strided and not _needs_torch(tensor)
        if plain and (tensor.is_cpu or tensor.is_cuda):
            require_memory(fqn, tensor)
            if op_of(tensor) == NO_OP:
                return tensor
        landing = torch.empty(tuple(tensor.size()), dtype=tensor.dtype, device="cpu")
        self._landings.append((tensor, landing))
        return landing

    def _view(self, tensor: torch.Tensor, op: int) -> Entry:
        device, stream = _CPU, 0
        if not tensor.is_cpu:
            device = tensor.device.index
            stream = self._stream(device)
        return (
            tensor.data_ptr(),
            code_of_dtype(tensor.dtype),
            tensor.size(),
            tensor.stride(),
            device,
            stream,
            op,
        )

    def _stream(self, device: int) -> int:
        if device not in self._streams:
            self._streams[device] = torch.cuda.current_stream(device).cuda_stream
        return self._streams[device]


# Several elements a byte: torch can write them, and cannot copy them into what is loaded.
_PACKED = (torch.quint4x2, torch.quint2x4)


def _encoded(fqn: str, tensor: torch.Tensor) -> bytes:
    if tensor.dtype in _PACKED:
        raise NotImplementedError(f"tensors of {tensor.dtype} are not stored, as in torch ({fqn})")
    return torch_save(tensor)


def _needs_torch(tensor: torch.Tensor) -> bool:
    if type(tensor) in PLAIN_TYPES:
        return tensor.is_quantized
    if tensor.is_quantized:
        return True
    try:
        from torch.utils._python_dispatch import is_traceable_wrapper_subclass
    except ImportError:  # torch < 2.1
        return False
    return bool(is_traceable_wrapper_subclass(tensor))
