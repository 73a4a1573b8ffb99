"""Every method of torch's save planner that users override is called, and what it does counts.

In a save of ours, and in torch's with our writer.
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
from support.states import blank, require_equal

Save = Callable[[dict[str, Any], Path, Any], stock.Metadata]

SAVES: dict[str, Save] = {
    "ours": lambda state, path, planner: dcpcpp.save(state, checkpoint_id=path, planner=planner),
    "torch's": lambda state, path, planner: stock.save(
        state, storage_writer=dcpcpp.FileSystemWriter(path), planner=planner
    ),
}
by_each_save = pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)


class WithoutOptimizer(stock.DefaultSavePlanner):
    """Leaves a part of the state out, and puts something into the metadata."""

    def create_local_plan(self) -> Any:
        plan = super().create_local_plan()
        items = [item for item in plan.items if not item.index.fqn.startswith("optim")]
        return dataclasses.replace(plan, items=items)

    def create_global_plan(self, all_plans: Any) -> Any:
        plans, metadata = super().create_global_plan(all_plans)
        metadata.planner_data["note"] = ("of", "the planner")
        return plans, metadata


@by_each_save
def test_what_a_planner_leaves_out_is_not_saved(save: Save, tmp_path: Path) -> None:
    planner = WithoutOptimizer()
    returned = save(state(), tmp_path, planner)
    written = stock.FileSystemReader(tmp_path).read_metadata()
    for metadata in (returned, written):
        assert set(metadata.state_dict_metadata) == {"model.w", "model.b", "step"}
        assert metadata.planner_data["note"] == ("of", "the planner")
    loaded = blank({"model": state()["model"], "step": 0})
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, {"model": state()["model"], "step": 7})


class Averages(stock.DefaultSavePlanner):
    """Saves another tensor than the state dict's, and another object."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: list[str] = []

    def finish_plan(self, new_plan: Any) -> Any:
        plan = super().finish_plan(new_plan)
        self.finished = sorted(item.index.fqn for item in plan.items)
        return plan

    def lookup_object(self, index: Any) -> Any:
        value = super().lookup_object(index)
        return value + 1 if index.fqn in ("model.w", "step") else value


@by_each_save
def test_what_a_planner_looks_up_is_what_is_saved(save: Save, tmp_path: Path) -> None:
    planner = Averages()
    save(state(), tmp_path, planner)
    assert planner.finished == sorted(KEYS)
    expected = state()
    expected["model"]["w"] += 1
    expected["step"] += 1
    for load in (dcpcpp.load, stock.load):
        loaded = blank(state())
        load(loaded, checkpoint_id=tmp_path)
        require_equal(loaded, expected)


class OneSaveBuffer(stock.DefaultSavePlanner):
    """Doubles tensors in one buffer for all, as torch writes one item after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = torch.zeros(2000)

    def transform_object(self, write_item: Any, object: Any) -> Any:
        if not isinstance(object, torch.Tensor):
            return super().transform_object(write_item, object)
        doubled = self.buffer[: object.numel()].view(object.shape)
        return doubled.copy_(object * 2)


@by_each_save
def test_a_planner_may_have_one_buffer_for_all_that_it_saves(save: Save, tmp_path: Path) -> None:
    save(state(), tmp_path, OneSaveBuffer())
    require_equal(dcpcpp.load_full(tmp_path), doubled())


class OfOlderTorch(stock.DefaultSavePlanner):
    def set_up_planner(self, state_dict: Any, is_coordinator: bool) -> None:  # type: ignore[override]
        super().set_up_planner(state_dict, None, is_coordinator)


@by_each_save
def test_a_planner_of_an_older_torch_saves_with_a_warning(save: Save, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="set_up_planner has been updated"):
        save(state(), tmp_path, OfOlderTorch())
    require_equal(dcpcpp.load_full(tmp_path), state())


class Own(stock.DefaultSavePlanner):
    def set_up_planner(
        self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False
    ) -> None:
        self.storage_meta = storage_meta
        super().set_up_planner(state_dict, storage_meta, is_coordinator)


@by_each_save
def test_a_planner_has_torchs_attributes_after_a_save(save: Save, tmp_path: Path) -> None:
    planner = Own()
    returned = save(state(), tmp_path, planner)
    assert planner.is_coordinator is True
    assert sorted(planner.state_dict) == sorted(KEYS)
    assert planner.mappings["optim.m"] == ("optim", "m")
    assert sorted(item.index.fqn for item in planner.plan.items) == sorted(KEYS)
    assert len(planner.global_plan) == 1
    assert set(planner.metadata.state_dict_metadata) == set(returned.state_dict_metadata)
    assert planner.storage_meta.checkpoint_id == str(tmp_path)
    assert returned.storage_meta is not None
    assert planner.storage_meta.save_id == returned.storage_meta.save_id
