"""What a rank holds of tensors that are spread over ranks: torch's protocols for them.

A DTensor of torch 2.4 has no methods of torch's `_Checkpointable`; its planner knows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.checkpoint import planner_helpers
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem

from dcpcpp import _core


def is_dtensor(value: object) -> bool:
    """Whether `value` is a DTensor."""
    # By name: torch.distributed.tensor moved between versions, and importing it
    # is slow where nobody uses it.
    return any(kind.__name__ == "DTensor" for kind in type(value).__mro__)


def write_items_of(fqn: str, value: Any) -> list[WriteItem]:
    """What this rank holds of a `_Checkpointable` or a DTensor."""
    if hasattr(value, "__create_write_items__"):
        items: list[WriteItem] = value.__create_write_items__(fqn, value)
        return items
    return [planner_helpers._create_write_items_for_dtensor(fqn, value)]


def chunks_of(value: Any) -> list[ChunkStorageMetadata]:
    """What this rank wants of it."""
    if hasattr(value, "__create_chunk_list__"):
        chunks: list[ChunkStorageMetadata] = value.__create_chunk_list__()
        return chunks
    return [planner_helpers._create_chunk_from_dtensor(value)]


def shard_of(value: Any, index: MetadataIndex) -> torch.Tensor:
    """Its local tensor at `index`."""
    get = getattr(value, "__get_tensor_shard__", None)
    shard: torch.Tensor = value._local_tensor if get is None else get(index)
    return shard


def is_sharded_tensor(value: object) -> bool:
    """Whether `value` is a ShardedTensor."""
    return any(kind.__name__ == "ShardedTensor" for kind in type(value).__mro__)


def local_shards(value: Any) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
    """Local tensors of a ShardedTensor and their offsets in the whole.

    A shard that is a ShardedTensor itself (FSDP over tensor parallelism) is opened:
    torch 2.13 `_sharded_tensor_utils._flatten_sharded_tensors`.
    """
    for shard in value.local_shards():
        outer = tuple(shard.metadata.shard_offsets)
        if not is_sharded_tensor(shard.tensor):
            yield shard.tensor, outer
            continue
        for tensor, inner in local_shards(shard.tensor):
            yield tensor, tuple(a + b for a, b in zip(outer, inner, strict=True))


def global_size(fqn: str, value: Any, metadata: _core.Metadata | None) -> tuple[int, ...] | None:
    """Its global shape, or the stored one if it does not know; None if nobody does."""
    if hasattr(value, "size"):
        return tuple(value.size())
    found = None if metadata is None else metadata.describe(fqn)
    return tuple(found[1]) if found is not None and found[0] == "tensor" else None


def require_shape(fqn: str, shard: torch.Tensor, chunk: ChunkStorageMetadata) -> None:
    """Raise ValueError unless `shard` is as large as `chunk`."""
    if tuple(shard.size()) != tuple(chunk.sizes):
        raise ValueError(
            f"the local tensor of {fqn} has the shape {tuple(shard.size())}, but its placements "
            f"make it {tuple(chunk.sizes)} at {tuple(chunk.offsets)}"
        )
