"""Every method of torch's load planner that users override is called, and what it does counts.

In a load of ours, with torch's reader too, and in torch's with our reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.planner_states import KEYS, doubled, state
from support.states import blank, ramp, require_equal

Load = Callable[[dict[str, Any], Path, Any], None]

LOADS: dict[str, Load] = {
    "ours": lambda state, path, planner: dcpcpp.load(state, checkpoint_id=path, planner=planner),
    "ours, torch's reader": lambda state, path, planner: dcpcpp.load(
        state, storage_reader=stock.FileSystemReader(path), planner=planner
    ),
    "torch's": lambda state, path, planner: stock.load(
        state, storage_reader=dcpcpp.FileSystemReader(path), planner=planner
    ),
}
by_each_load = pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    dcpcpp.save(state(), checkpoint_id=tmp_path / "c")
    return tmp_path / "c"


class Recording(stock.DefaultLoadPlanner):
    """Notes what it is asked, and what it has when it is set up."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def set_up_planner(self, state_dict: Any, metadata: Any = None, *args: Any) -> None:
        self.calls.append("set_up_planner")
        super().set_up_planner(state_dict, metadata, *args)
        assert self.original_state_dict is state_dict
        assert self.metadata is metadata
        assert self.is_coordinator is True
        assert sorted(self.state_dict) == sorted(self.mappings) == sorted(KEYS)

    def create_local_plan(self) -> Any:
        self.calls.append("create_local_plan")
        return super().create_local_plan()

    def create_global_plan(self, global_plan: Any) -> Any:
        self.calls.append("create_global_plan")
        return super().create_global_plan(global_plan)

    def finish_plan(self, new_plan: Any) -> Any:
        self.calls.append("finish_plan")
        return super().finish_plan(new_plan)

    def transform_tensor(self, read_item: Any, tensor: torch.Tensor) -> torch.Tensor:
        self.calls.append(f"transform {read_item.dest_index.fqn}")
        return super().transform_tensor(read_item, tensor)

    def lookup_tensor(self, index: Any) -> torch.Tensor:
        self.calls.append(f"lookup {index.fqn}")
        return super().lookup_tensor(index)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        self.calls.append(f"commit {read_item.dest_index.fqn}")


@by_each_load
def test_a_load_planner_is_asked_as_torch_asks_it(load: Load, saved: Path) -> None:
    planner = Recording()
    loaded = blank(state())
    load(loaded, saved, planner)
    require_equal(loaded, state())
    assert planner.calls[:4] == [
        "set_up_planner",
        "create_local_plan",
        "create_global_plan",
        "finish_plan",
    ]
    tensors = ("model.b", "model.w", "optim.m")
    for call in ("lookup", "transform", "commit"):
        asked = sorted(line for line in planner.calls if line.startswith(call))
        assert asked == [f"{call} {key}" for key in tensors]


class Renaming(stock.DefaultLoadPlanner):
    """Fills "weight" from the checkpoint's "model.w", and leaves out what it has planned."""

    def create_local_plan(self) -> Any:
        assert self.metadata is not None
        stored = self.metadata.state_dict_metadata
        renamed = {"weight" if key == "model.w" else key: stored[key] for key in stored}
        metadata = dataclasses.replace(self.metadata, state_dict_metadata=renamed)
        plan = dcpcpp.create_default_local_load_plan(self.state_dict, metadata)
        return dataclasses.replace(plan, items=[self._from_model(item) for item in plan.items])

    @staticmethod
    def _from_model(item: Any) -> Any:
        if item.storage_index.fqn != "weight":
            return item
        index = dataclasses.replace(item.storage_index, fqn="model.w")
        return dataclasses.replace(item, storage_index=index)

    def finish_plan(self, new_plan: Any) -> Any:
        kept = [item for item in new_plan.items if item.dest_index.fqn != "step"]
        return dataclasses.replace(new_plan, items=kept)


@by_each_load
def test_a_load_planner_decides_what_is_read_from_where(load: Load, saved: Path) -> None:
    loaded = {"weight": torch.zeros(40, 30), "step": -1}
    load(loaded, saved, Renaming())
    require_equal(loaded, {"weight": ramp(40, 30), "step": -1})


class Aside(stock.DefaultLoadPlanner):
    """Reads to tensors of its own, of another type, and puts the values in their place itself."""

    def resolve_tensor(self, read_item: Any) -> torch.Tensor:
        return torch.empty(read_item.lengths, dtype=torch.float64)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        super().resolve_tensor(read_item).copy_(tensor * 2)


class OneBuffer(stock.DefaultLoadPlanner):
    """The same with one buffer for all, as torch reads one item after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = torch.zeros(2000)

    def resolve_tensor(self, read_item: Any) -> torch.Tensor:
        return self.buffer[: read_item.lengths.numel()].view(read_item.lengths)

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        super().resolve_tensor(read_item).copy_(tensor * 2)


@by_each_load
@pytest.mark.parametrize("planner", [Aside, OneBuffer])
def test_a_load_planner_may_read_to_buffers_of_its_own(
    load: Load, planner: type[stock.DefaultLoadPlanner], saved: Path
) -> None:
    loaded = blank(state())
    load(loaded, saved, planner())
    require_equal(loaded, doubled())


class Redirected(stock.DefaultLoadPlanner):
    """Fills other tensors than those of the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.shadow = {"model.w": torch.zeros(40, 30), "model.b": torch.zeros(7)}

    def lookup_tensor(self, index: Any) -> torch.Tensor:
        return self.shadow[index.fqn]


@by_each_load
def test_a_load_planner_may_look_up_other_tensors(load: Load, saved: Path) -> None:
    planner = Redirected()
    loaded = {"model": {"w": torch.ones(40, 30), "b": torch.ones(7)}}
    load(loaded, saved, planner)
    require_equal(planner.shadow, {"model.w": ramp(40, 30), "model.b": ramp(7, start=3)})
    require_equal(loaded, {"model": {"w": torch.ones(40, 30), "b": torch.ones(7)}})
