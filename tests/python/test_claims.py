"""Metadata that claims what is not there is refused before open and load_full make anything."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.metadata import Metadata

import dcpcpp

HUGE = 1 << 38
Change = Callable[[Metadata], None]


def path_of(key: str, *path: str | int) -> Change:
    def change(metadata: Metadata) -> None:
        metadata.planner_data = {**metadata.planner_data, key: path}

    return change


def size_of(size: list[int], chunk: list[int] | None) -> Change:
    def change(metadata: Metadata) -> None:
        tensor: Any = metadata.state_dict_metadata["t"]
        tensor.size = torch.Size(size)
        tensor.chunks[0].sizes = torch.Size(chunk or size)
        if chunk is None:
            tensor.chunks = []

    return change


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[Change], Path]:
    """A checkpoint of stock torch with other metadata."""
    state = {"t": torch.ones(4), "o": {"x": 5}, "l": [torch.ones(3), 7]}
    stock.save(state, checkpoint_id=tmp_path)
    file = tmp_path / ".metadata"

    def damage(change: Change) -> Path:
        metadata = pickle.loads(file.read_bytes())
        change(metadata)
        file.write_bytes(pickle.dumps(metadata))
        return tmp_path

    return damage


@pytest.mark.parametrize(
    ("key", "change", "what"),
    [
        ("l.1", path_of("l.1", "l", 300_000_000), "position 300000000 of a list of 2 items"),
        ("l.1", path_of("l.1", "l", -5), "position -5 of a list"),
        ("t", path_of("t", *["a"] * 20_000), "20000 parts"),
        ("t", path_of("t", *[0] * 20_000), "20000 parts"),
        ("o.x", path_of("o.x", "t"), r"\('t',\) is that of 't', too"),
    ],
)
def test_paths_that_no_state_dict_has_are_corruption(
    damaged: Callable[[Change], Path], key: str, change: Change, what: str
) -> None:
    path = damaged(change)
    with pytest.raises(dcpcpp.errors.CheckpointCorruptedError, match=what) as caught:
        dcpcpp.load_full(path)
    assert caught.value.key == key
    assert caught.value.path == str(path / ".metadata")


def test_lists_without_some_of_their_items_are_loaded(tmp_path: Path) -> None:
    state = {"l": [{"x": torch.ones(2)}, {}, {"x": torch.zeros(2)}, {"x": torch.ones(1)}]}
    dcpcpp.save(state, checkpoint_id=tmp_path, exclude=["l.0.*", "l.2.*"])
    items = dcpcpp.load_full(tmp_path)["l"]
    assert items[:3] == [None] * 3
    assert torch.equal(items[3]["x"], torch.ones(1))


def test_deep_states_are_loaded(tmp_path: Path) -> None:
    state: dict[str, Any] = {"x": torch.ones(1)}
    for _ in range(200):
        state = {"x": state}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    assert repr(dcpcpp.load_full(tmp_path)) == repr(state)


@pytest.mark.parametrize(
    ("size", "chunk", "file", "what"),
    [
        ([HUGE], [HUGE], "__0_0.distcp", r"has the shape \[4\], the metadata says \[2748779"),
        ([HUGE], None, ".metadata", "hold 0 of the 274877906944 elements"),
        ([HUGE], [4], ".metadata", "hold 4 of the 274877906944 elements"),
        ([5], [4], ".metadata", "hold 4 of the 5 elements"),
    ],
)
def test_a_tensor_that_is_not_there_is_corruption_before_it_takes_memory(
    damaged: Callable[[Change], Path],
    size: list[int],
    chunk: list[int] | None,
    file: str,
    what: str,
) -> None:
    path = damaged(size_of(size, chunk))
    checkpoint = dcpcpp.open(path)
    last = slice(0, size[0])
    for read in (
        lambda: dcpcpp.load_full(path),
        lambda: checkpoint.get("t"),
        lambda: checkpoint.get("t", last),
    ):
        with pytest.raises(dcpcpp.errors.CheckpointCorruptedError, match=what) as caught:
            read()
        assert caught.value.key == "t"
        assert caught.value.path == str(path / file)
    assert torch.equal(checkpoint.get("l.0"), torch.ones(3))


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_what_is_larger_than_its_files_is_read_if_it_is_there(tmp_path: Path, scheme: str) -> None:
    zeros = torch.zeros(80 << 20, dtype=torch.uint8)
    path = f"{scheme}{tmp_path}/c"
    dcpcpp.save({"w": zeros, "x": torch.ones(2)}, checkpoint_id=path, compression="zstd")
    checkpoint = dcpcpp.open(path)
    assert torch.equal(checkpoint.get("w"), zeros)
    assert checkpoint.get("w", slice(5, 70 << 20)).numel() == (70 << 20) - 5
