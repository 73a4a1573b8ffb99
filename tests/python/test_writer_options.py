"""Options of torch's writer and planner that no other test is about."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.filesystem import SerializationFormat

import dcpcpp


@pytest.mark.parametrize("thread_count", [0, -1])
def test_a_writer_of_no_files_is_refused_at_once(tmp_path: Path, thread_count: int) -> None:
    with pytest.raises(ValueError, match=f"number of files per rank, not {thread_count}"):
        dcpcpp.FileSystemWriter(tmp_path, thread_count=thread_count)
    assert list(tmp_path.iterdir()) == []


def test_files_that_nothing_could_read_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SAFETENSORS writes files that nothing can read"):
        dcpcpp.FileSystemWriter(tmp_path, serialization_format=SerializationFormat.SAFETENSORS)


@pytest.mark.parametrize("ahead", [0, 1, 10**9])
def test_any_copy_ahead_is_accepted(tmp_path: Path, ahead: int) -> None:
    state = {"w": torch.arange(1000.0)}
    writer = dcpcpp.FileSystemWriter(tmp_path, per_thread_copy_ahead=ahead)
    dcpcpp.save(state, storage_writer=writer)
    loaded = {"w": torch.zeros(1000)}
    stock.load(loaded, checkpoint_id=tmp_path)
    assert torch.equal(loaded["w"], state["w"])


def test_a_planner_with_cached_plans_saves_what_has_changed(tmp_path: Path) -> None:
    planner = dcpcpp.DefaultSavePlanner(enable_plan_caching=True)
    for step, length in enumerate([3, 3, 5, 3]):
        path = tmp_path / str(step)
        state = {"w": torch.full((length,), float(step)), "step": step}
        dcpcpp.save(state, checkpoint_id=path, planner=planner)
        loaded = {"w": torch.zeros(length), "step": -1}
        stock.load(loaded, checkpoint_id=path)
        assert torch.equal(loaded["w"], state["w"])
        assert loaded["step"] == step
