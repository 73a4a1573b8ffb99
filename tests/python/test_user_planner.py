"""A user's own planner is called as torch calls it, with our I/O."""

from __future__ import annotations

import fcntl
import io
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

import dcpcpp
from support import protocol as support
from support.protocol import assert_loaded, is_ours, make_state, make_template
from support.ranks import run_on_ranks

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


def save_and_load_by_own_planners(path: str) -> list[str]:
    rank = dist.get_rank()
    planner = RecordingSavePlanner()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    shard = DTensor.from_local(torch.full((2, 3), float(rank)), mesh, [Shard(0)])
    state = {"model": {"b": torch.arange(4.0)}, "shard": shard, f"rank-{rank}": rank}
    dcpcpp.save(state, checkpoint_id=path, planner=planner)
    again = DTensor.from_local(torch.zeros(2, 3), mesh, [Shard(0)])
    wanted = {"model": {"b": torch.zeros(4)}, "shard": again, f"rank-{rank}": None}
    dcpcpp.load(wanted, checkpoint_id=path, planner=OwnLoadPlanner())
    assert torch.equal(wanted["model"]["b"], torch.arange(4.0) * 2)
    assert torch.equal(again.to_local(), shard.to_local())
    assert wanted[f"rank-{rank}"] == rank
    return planner.calls


class OwnLoadPlanner(stock.DefaultLoadPlanner):
    pass


def test_own_planners_of_several_ranks_plan_together(tmp_path: Path) -> None:
    first, second = run_on_ranks(2, save_and_load_by_own_planners, str(tmp_path / "c"))
    assert ("create_global_plan" in first, "create_global_plan" in second) == (True, False)
    for calls, rank in ((first, 0), (second, 1)):
        assert {"set_up_planner", "create_local_plan", "finish_plan"} <= set(calls)
        assert {f"resolve rank-{rank}", "resolve shard"} <= set(calls)
    assert is_ours(tmp_path / "c")


class OwnSavePlanner(stock.DefaultSavePlanner):
    pass


def test_a_planners_save_that_finds_another_at_work_leaves_no_files(tmp_path: Path) -> None:
    state = {"w": torch.ones(100)}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    whole_file = struct.pack("hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with (tmp_path / ".dcpcpp.lock").open("w") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, whole_file)
        with pytest.raises(dcpcpp.CheckpointBusyError, match="is locked by"):
            dcpcpp.save(state, checkpoint_id=tmp_path, planner=OwnSavePlanner())
    assert {path.name for path in tmp_path.iterdir()} == before | {".dcpcpp.lock"}
