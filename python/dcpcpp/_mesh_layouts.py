"""How DTensors lie over the ranks that save, as libdcp is told: it derives their chunks."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from dcpcpp import _core
from dcpcpp._memory import PLAIN_TYPES

# dcp::Placement::Kind, by the name of torch's class: importing these is slow, and they moved.
_KINDS = {"Replicate": 0, "Shard": 1, "_StridedShard": 2}


def layouts_for(process_group: Any, *, use_dist: bool) -> MeshLayouts | None:
    """The layouts of tensors that the ranks of `process_group` (None: all) save.

    None for a process alone, which has nothing in common with others.
    """
    if not use_dist or process_group is dist.GroupMember.NON_GROUP_MEMBER:
        return None
    group = process_group if process_group is not None else dist.group.WORLD
    ranks = dist.get_process_group_ranks(group)
    return MeshLayouts(ranks) if len(ranks) > 1 else None


class MeshLayouts:
    """Layouts by mesh and placements, each made once; for the time of a save.

    Args:
        ranks: the numbers in the job of the group's ranks.
    """

    def __init__(self, ranks: list[int]) -> None:
        self._numbers = {rank: number for number, rank in enumerate(ranks)}
        self._meshes: dict[Any, _core.DeviceMesh | None] = {}
        self._layouts: dict[Any, _core.MeshLayout | None] = {}
        self._sizes: dict[Any, tuple[int, ...] | None] = {}

    def of(self, value: Any) -> _core.MeshLayout | None:
        """How `value` lies over the ranks, if it is a DTensor of which that says all.

        None for one whose local tensor has another shape than its placements make it, in
        this torch or for a mistake: torch's own protocol tells then where it lies.
        """
        if not _is_plain_dtensor(value) or type(value._local_tensor) not in PLAIN_TYPES:
            return None
        mesh, placements = value.device_mesh, value.placements
        size = tuple(value.size())
        key = (mesh, placements)
        if key not in self._layouts:
            self._layouts[key] = self._layout(mesh, placements)
        layout = self._layouts[key]
        if layout is None:
            return None
        if (key, size) not in self._sizes:
            self._sizes[key, size] = _chunk_sizes(layout, size)
        return layout if self._sizes[key, size] == tuple(value._local_tensor.size()) else None

    def _layout(self, mesh: Any, placements: Any) -> _core.MeshLayout | None:
        told = []
        for placement in placements:
            kind = _KINDS.get(type(placement).__name__)
            if kind is None:  # a sum to be made, or somebody's own
                return None
            told.append((kind, getattr(placement, "dim", 0), getattr(placement, "split_factor", 1)))
        if mesh not in self._meshes:
            self._meshes[mesh] = self._mesh(mesh)
        ranks = self._meshes[mesh]
        if ranks is None:
            return None
        return _core.MeshLayout(ranks, told, tuple(mesh.get_coordinate()))

    def _mesh(self, mesh: Any) -> _core.DeviceMesh | None:
        """`mesh` by the group's numbers; None if it has other ranks, too."""
        numbers = [self._numbers.get(rank) for rank in mesh.mesh.flatten().tolist()]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return None
        return _core.DeviceMesh(tuple(mesh.mesh.shape), known)


def _is_plain_dtensor(value: Any) -> bool:
    """Whether `value` is torch's DTensor, not a class that was made of it."""
    kind = type(value)
    return kind.__name__ == "DTensor" and kind.__module__.startswith("torch.")


def _chunk_sizes(layout: _core.MeshLayout, size: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return layout.chunk_sizes(size)
    except ValueError:  # a dimension that the tensor does not have, say
        return None
