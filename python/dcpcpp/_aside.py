"""Tensors that a user's planner makes for a save or load, which are not the state's own.

Torch resolves one item, writes or reads it, and comes to the next: a planner may take one
buffer for all, or let go of each tensor when it is done. Libdcp resolves many at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.utils import find_state_dict_object

from dcpcpp._memory import PLAIN_TYPES


def saves_aside(planner: Any) -> bool:
    """Whether what `planner` resolves on saving may be other tensors than the state's."""
    methods = ("resolve_data", "lookup_object", "transform_object")
    return not _has(planner, DefaultSavePlanner, methods)


def loads_aside(planner: Any) -> bool:
    """Whether `planner` may have tensors filled on loading that are not the state's."""
    methods = ("resolve_tensor", "lookup_tensor", "transform_tensor")
    return not _has(planner, DefaultLoadPlanner, methods)


def _has(planner: Any, default: type[Any], names: tuple[str, ...]) -> bool:
    """Whether the methods of `planner` are those of torch's `default`."""
    return all(
        getattr(getattr(planner, name, None), "__func__", None) is getattr(default, name)
        for name in names
    )


def kept(data: torch.Tensor, planner: Any, index: MetadataIndex) -> torch.Tensor:
    """`data`, which `planner` has resolved for `index`; a copy unless it is the state's."""
    if type(data) not in PLAIN_TYPES or data.layout is not torch.strided:
        return data
    try:
        own = find_state_dict_object(planner.state_dict, index)
        if own.untyped_storage().data_ptr() == data.untyped_storage().data_ptr():
            return data
    except (AttributeError, LookupError, RuntimeError, ValueError):
        pass  # the state has no such tensor
    return data.detach().clone()


def address_of(target: torch.Tensor | None) -> int | None:
    """Where the memory of a tensor begins; None if it has none, or none of its own."""
    if target is None or type(target) not in PLAIN_TYPES:
        return None
    is_plain = target.layout is torch.strided and target.numel() > 0
    return target.data_ptr() if is_plain else None
