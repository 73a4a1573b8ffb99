"""What `load_bytes` of torch's planner does, without running code of the checkpoint."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from typing import Any

from torch.distributed.checkpoint import default_planner
from torch.distributed.checkpoint.planner import LoadPlanner, ReadItem

from dcpcpp import _objects


def load_bytes_of(planner: LoadPlanner) -> Callable[[ReadItem, io.BytesIO], None]:
    """`planner.load_bytes`; ours in the place of the one that its class has from torch."""
    if not _has_torchs(planner):
        return planner.load_bytes
    return functools.partial(_load_bytes, planner)


@contextlib.contextmanager
def safe_load_bytes(planner: LoadPlanner) -> Iterator[None]:
    """Have readers of any kind decode objects as ours do, unless `planner` does it itself."""
    if not _has_torchs(planner):
        yield
        return
    planner.load_bytes = load_bytes_of(planner)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del planner.load_bytes


def _has_torchs(planner: LoadPlanner) -> bool:
    """Whether torch's own method would decode for `planner`."""
    torchs = default_planner.DefaultLoadPlanner.load_bytes
    return getattr(planner.load_bytes, "__func__", None) is torchs


def _load_bytes(planner: Any, item: ReadItem, data: io.BytesIO) -> None:
    key = item.dest_index.fqn
    value = _objects.decode(data.read(), key, allow_pickle=None)
    if planner.flatten_state_dict:
        set_element: Any = default_planner.set_element  # type: ignore[attr-defined]
        set_element(planner.original_state_dict, planner.mappings[key], value)
    else:
        planner.state_dict[key] = value
