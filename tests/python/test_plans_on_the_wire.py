"""Ranks exchange plans as compact binary, never as pickles."""

from __future__ import annotations

import contextlib
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import metadata, planner
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpcpp
from support.ranks import RankError, run_on_ranks

# What a pickled plan, or its metadata, is made of.
PARTS = (
    planner.SavePlan,
    planner.LoadPlan,
    planner.WriteItem,
    planner.ReadItem,
    metadata.Metadata,
    metadata.MetadataIndex,
    metadata.TensorStorageMetadata,
)


def refuse(self: Any, protocol: int) -> Any:
    raise pickle.PicklingError(f"a {type(self).__name__} is pickled")


@contextlib.contextmanager
def unpicklable_plans() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for part in PARTS:
            patch.setattr(part, "__reduce_ex__", refuse, raising=False)
        yield


def state(start: float) -> dict[str, Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    whole = torch.arange(start, start + 24).reshape(8, 3)
    return {"sharded": distribute_tensor(whole, mesh, [Shard(0)]), "same": whole.clone(), "n": 3}


def save_and_load(library: Any, folder: pathlib.Path) -> None:
    with unpicklable_plans():
        library.save(state(1.0), checkpoint_id=folder)
        loaded = state(100.0)
        library.load(loaded, checkpoint_id=folder)
    expected = state(1.0)
    assert torch.equal(loaded["sharded"].to_local(), expected["sharded"].to_local())
    assert torch.equal(loaded["same"], expected["same"])


def dcpcpp_saves_and_loads(folder: pathlib.Path) -> None:
    save_and_load(dcpcpp, folder)


def stock_saves_and_loads(folder: pathlib.Path) -> None:
    save_and_load(stock, folder)


def test_plans_are_not_pickled(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, dcpcpp_saves_and_loads, tmp_path / "c")


def test_stock_torch_pickles_them(tmp_path: pathlib.Path) -> None:
    """Or else the test above could not fail."""
    with pytest.raises(RankError, match=r"a (SavePlan|WriteItem|MetadataIndex) is pickled"):
        run_on_ranks(2, stock_saves_and_loads, tmp_path / "c")
