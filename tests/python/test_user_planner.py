"""A user's own planner is called as torch calls it, with our I/O."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import protocol as support
from support.protocol import assert_loaded, is_ours, make_state, make_template

protocol = support.protocol


def test_defaults_take_the_native_path(tmp_path: Path, protocol: list[str]) -> None:
    writers = [
        None,
        dcpcpp.FileSystemWriter(tmp_path / "c"),
        stock.FileSystemWriter(tmp_path / "c"),
    ]
    for writer in writers:
        for planner in (None, stock.DefaultSavePlanner()):
            dcpcpp.save(
                make_state(), checkpoint_id=tmp_path / "c", storage_writer=writer, planner=planner
            )
    readers = [
        None,
        dcpcpp.FileSystemReader(tmp_path / "c"),
        stock.FileSystemReader(tmp_path / "c"),
    ]
    for reader in readers:
        state = make_template()
        dcpcpp.load(
            state,
            checkpoint_id=tmp_path / "c",
            storage_reader=reader,
            planner=stock.DefaultLoadPlanner(),
        )
        assert_loaded(state)
    assert protocol == []
    assert is_ours(tmp_path / "c")


class RecordingSavePlanner(stock.DefaultSavePlanner):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def set_up_planner(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append("set_up_planner")
        super().set_up_planner(*args, **kwargs)

    def create_local_plan(self) -> Any:
        self.calls.append("create_local_plan")
        return super().create_local_plan()

    def create_global_plan(self, all_plans: Any) -> Any:
        self.calls.append("create_global_plan")
        return super().create_global_plan(all_plans)

    def finish_plan(self, new_plan: Any) -> Any:
        self.calls.append("finish_plan")
        return super().finish_plan(new_plan)

    def resolve_data(self, write_item: Any) -> Any:
        self.calls.append(f"resolve {write_item.index.fqn}")
        return super().resolve_data(write_item)

    def transform_object(self, write_item: Any, obj: Any) -> Any:
        # Doubles one tensor on its way out.
        return (
            obj * 2
            if write_item.index.fqn == "model.b"
            else super().transform_object(write_item, obj)
        )


def test_a_planner_of_the_users_own_is_asked_and_our_io_writes(
    tmp_path: Path, protocol: list[str]
) -> None:
    planner = RecordingSavePlanner()
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c", planner=planner)
    assert protocol == ["_save_state_dict"]
    assert planner.calls[:4] == [
        "set_up_planner",
        "create_local_plan",
        "create_global_plan",
        "finish_plan",
    ]
    assert sorted(planner.calls[4:]) == ["resolve model.b", "resolve model.w", "resolve step"]
    assert is_ours(tmp_path / "c")
    state = make_template()
    stock.load(state, checkpoint_id=tmp_path / "c")
    state["model"]["b"] /= 2
    assert_loaded(state)


class RenamingLoadPlanner(stock.DefaultLoadPlanner):
    """Loads "renamed" from "step", and counts what is committed."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: list[str] = []

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        loaded = torch.load(value, weights_only=True)
        self.original_state_dict[read_item.dest_index.fqn] = loaded * 100

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        self.committed.append(read_item.dest_index.fqn)


def test_a_load_planner_of_the_users_own_is_asked(tmp_path: Path, protocol: list[str]) -> None:
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c")
    planner = RenamingLoadPlanner()
    state = make_template()
    dcpcpp.load(state, checkpoint_id=tmp_path / "c", planner=planner)
    assert protocol == ["_load_state_dict"]
    assert sorted(planner.committed) == ["model.b", "model.w"]
    assert state["step"] == 700
    state["step"] = 7
    assert_loaded(state)


def test_a_method_set_on_a_default_planner_counts(tmp_path: Path, protocol: list[str]) -> None:
    planner = stock.DefaultSavePlanner()
    resolved: list[str] = []
    original = planner.resolve_data
    planner.resolve_data = lambda item: resolved.append(item.index.fqn) or original(item)  # type: ignore
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c", planner=planner)
    assert sorted(resolved) == ["model.b", "model.w", "step"]
    assert protocol == ["_save_state_dict"]
