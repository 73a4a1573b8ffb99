"""States that nobody holds any more are freed at once, not by the next garbage collection."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

import dcpcpp


def state() -> dict[str, Any]:
    return {"model": {"w": torch.ones(64), "layers": [torch.zeros(3)]}, "step": 7}


@contextlib.contextmanager
def freed(state: dict[str, Any]) -> Iterator[None]:
    """Collects no garbage in the block, after which the caller drops `state`."""
    gc.collect()
    gc.disable()
    try:
        yield
        reference = weakref.ref(state["model"]["w"])
        state.clear()
        assert reference() is None, "a reference cycle keeps the state"
    finally:
        gc.enable()


def save(state: dict[str, Any], path: Path, **options: Any) -> None:
    dcpcpp.save(state, checkpoint_id=path, no_dist=True, **options)


def test_after_a_save(tmp_path: Path) -> None:
    saved = state()
    with freed(saved):
        save(saved, tmp_path)


@pytest.mark.parametrize("kind", list(AsyncCheckpointerType))
def test_after_an_async_save(tmp_path: Path, kind: AsyncCheckpointerType) -> None:
    saved = state()
    with freed(saved):
        dcpcpp.async_save(
            saved, checkpoint_id=tmp_path, no_dist=True, async_checkpointer_type=kind
        ).result()


def test_after_a_load(tmp_path: Path) -> None:
    save(state(), tmp_path)
    loaded = state()
    with freed(loaded):
        dcpcpp.load(loaded, checkpoint_id=tmp_path, no_dist=True)


def test_after_a_load_that_failed(tmp_path: Path) -> None:
    save(state(), tmp_path)
    loaded = state() | {"other": torch.ones(2)}
    with freed(loaded), contextlib.suppress(dcpcpp.CheckpointException):
        dcpcpp.load(loaded, checkpoint_id=tmp_path, no_dist=True)


def test_after_saves_and_loads_under_torchs_protocol(tmp_path: Path) -> None:
    class SavePlanner(DefaultSavePlanner):
        pass

    class LoadPlanner(DefaultLoadPlanner):
        pass

    saved = state()
    with freed(saved):
        save(saved, tmp_path, planner=SavePlanner())
    loaded = state()
    with freed(loaded):
        dcpcpp.load(loaded, checkpoint_id=tmp_path, no_dist=True, planner=LoadPlanner())


def test_after_a_safetensors_save_and_load(tmp_path: Path) -> None:
    saved = {"model": {"w": torch.ones(64)}}
    with freed(saved):
        save(saved, tmp_path, storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path))
    loaded = {"model": {"w": torch.zeros(64)}}
    with freed(loaded):
        dcpcpp.load(loaded, storage_reader=dcpcpp.HuggingFaceStorageReader(tmp_path), no_dist=True)
