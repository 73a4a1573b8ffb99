"""Tensors of known values, cut up in every way that device meshes know.

Only for use on ranks (see support.ranks): building a mesh is collective.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from support.states import bits, blank, ramp

Option = tuple[DeviceMesh, list[Any]]


def truth() -> dict[str, torch.Tensor]:
    """The whole tensors, by name; every element differs."""
    return {
        "even": ramp(8, 4),
        "uneven": ramp(7, 5),
        "two_rows": ramp(2, 3),
        "one_row": ramp(1, 4),
        "no_rows": ramp(0, 4),
        "cube": ramp(5, 4, 6),
        "vector": ramp(10, dtype=torch.float64),
        "bytes": ramp(9, 3, dtype=torch.uint8),
        "half": ramp(6, 7, dtype=torch.bfloat16),
    }


def options() -> list[Option]:
    """Meshes over all ranks, of one to three dimensions, and placements on them."""
    world = dist.get_world_size()
    pair = 2 if world % 2 == 0 else 1
    line = init_device_mesh("cpu", (world,))
    plane = init_device_mesh("cpu", (pair, world // pair))
    space = init_device_mesh("cpu", (pair, 1, world // pair))
    return [
        (line, [Shard(0)]),
        (line, [Shard(1)]),
        (line, [Replicate()]),
        (plane, [Shard(0), Shard(1)]),
        (plane, [Shard(1), Shard(0)]),
        (plane, [Shard(0), Shard(0)]),
        (plane, [Replicate(), Shard(0)]),
        (plane, [Shard(1), Replicate()]),
        (plane, [Replicate(), Replicate()]),
        (space, [Shard(0), Shard(1), Shard(2)]),
        (space, [Shard(2), Shard(0), Shard(0)]),
        (space, [Replicate(), Shard(0), Shard(1)]),
    ]


def sharded_state(turn: int, *, filled: bool) -> dict[str, Any]:
    """Each true tensor under each option; `turn` says which option gets which name.

    The names depend on neither `turn` nor the number of ranks, so that a state with one
    turn may be loaded from a checkpoint of another. Placements that name a dimension
    which a tensor lacks become Replicate.
    """
    known = options()
    state: dict[str, Any] = {}
    for name, whole in truth().items():
        for number in range(len(known)):
            mesh, placements = known[(number + turn) % len(known)]
            fitting = [
                Replicate() if isinstance(p, Shard) and p.dim >= whole.ndim else p
                for p in placements
            ]
            source = whole if filled else blank(whole)
            state[f"{name}.{number}"] = distribute_tensor(source, mesh, fitting, src_data_rank=None)
    state["plain"] = ramp(3, 3) if filled else blank(ramp(3, 3))
    return state


def whole_state(*, filled: bool) -> dict[str, torch.Tensor]:
    """The state of `sharded_state` with each tensor whole."""
    count = 12
    state = {
        f"{name}.{number}": whole.clone() if filled else blank(whole)
        for name, whole in truth().items()
        for number in range(count)
    }
    state["plain"] = ramp(3, 3) if filled else blank(ramp(3, 3))
    return state


def require_same_shards(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise AssertionError unless this rank holds the same placements and bits."""
    assert list(actual) == list(expected)
    for key, wanted in expected.items():
        value = actual[key]
        if isinstance(wanted, DTensor):
            assert value.placements == wanted.placements, key
            value, wanted = value.to_local(), wanted.to_local()
        assert value.shape == wanted.shape, f"{key}: {value.shape} != {wanted.shape}"
        assert bits(value) == bits(wanted), (
            f"{key} differs on rank {dist.get_rank()}: {value} != {wanted}"
        )


def nbytes(state: dict[str, Any]) -> int:
    """Bytes of the whole tensors of a state, each counted once."""
    return sum(math.prod(value.shape) * value.element_size() for value in state.values())
