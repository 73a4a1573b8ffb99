"""Objects that describe their own shards, by torch's _Checkpointable protocol."""

from __future__ import annotations

import math
import pathlib
import re
import tempfile
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

import dcpcpp
from support.ranks import run_on_ranks
from support.states import ramp, require_equal

Box = tuple[tuple[int, ...], tuple[int, ...]]  # offsets, sizes


class Boxes:
    """A tensor that is held as boxes of it; no torch.Tensor itself."""

    def __init__(self, whole: torch.Tensor, boxes: list[Box], *, filled: bool) -> None:
        self.shape = whole.shape
        self.parts = {}
        for offsets, sizes in boxes:
            part = whole
            for dim, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
                part = part.narrow(dim, offset, size)
            self.parts[offsets] = part.clone() if filled else torch.full_like(part, -1)

    def __create_write_items__(self, fqn: str, _: object) -> list[WriteItem]:
        return [
            WriteItem(
                index=MetadataIndex(fqn, torch.Size(offsets)),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=ChunkStorageMetadata(torch.Size(offsets), part.size()),
                    properties=TensorProperties.create_from_tensor(part),
                    size=self.shape,
                ),
            )
            for offsets, part in self.parts.items()
        ]

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [
            ChunkStorageMetadata(torch.Size(offsets), part.size())
            for offsets, part in self.parts.items()
        ]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        return self.parts[tuple(index.offset)]


QUARTERS: list[Box] = [((0, 0), (2, 3)), ((0, 3), (2, 3)), ((2, 0), (2, 3)), ((2, 3), (2, 3))]
COLUMNS: list[Box] = [((0, 0), (4, 1)), ((0, 1), (4, 5))]


def test_objects_with_the_protocol_are_saved_and_loaded(tmp_path: pathlib.Path) -> None:
    """Whether they are tensors or not; torch, too, reads what was saved of them."""
    whole = ramp(4, 6)
    state = {"boxes": Boxes(whole, QUARTERS, filled=True), "plain": ramp(2)}
    metadata = dcpcpp.save(state, checkpoint_id=tmp_path)
    assert len(metadata.state_dict_metadata["boxes"].chunks) == len(QUARTERS)
    target = Boxes(whole, COLUMNS, filled=False)
    dcpcpp.load({"boxes": target}, checkpoint_id=tmp_path)
    require_equal(target.parts, Boxes(whole, COLUMNS, filled=True).parts)
    loaded = {"boxes": torch.zeros(4, 6), "plain": torch.zeros(2)}
    stock.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, {"boxes": whole, "plain": ramp(2)})


@st.composite
def partitions(draw, shape: tuple[int, ...]) -> list[Box]:
    """Boxes that cover `shape` exactly, cut at random, again and again."""
    boxes: list[Box] = [((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, 6))):
        number = draw(st.integers(0, len(boxes) - 1))
        offsets, sizes = boxes[number]
        dims = [dim for dim, size in enumerate(sizes) if size > 1]
        if not dims:
            continue
        dim = draw(st.sampled_from(dims))
        cut = draw(st.integers(1, sizes[dim] - 1))
        near = tuple(cut if d == dim else size for d, size in enumerate(sizes))
        far = tuple(size - cut if d == dim else size for d, size in enumerate(sizes))
        moved = tuple(offset + cut if d == dim else offset for d, offset in enumerate(offsets))
        boxes[number : number + 1] = [(offsets, near), (moved, far)]
    return draw(st.permutations(boxes))


@st.composite
def reshardings(draw) -> tuple[tuple[int, ...], list[Box], list[Box]]:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    return shape, draw(partitions(shape)), draw(partitions(shape))


@settings(deadline=None, max_examples=60)
@given(case=reshardings(), dtype=st.sampled_from([torch.float32, torch.uint8, torch.complex128]))
def test_any_boxes_load_from_any_other_boxes(case, dtype) -> None:
    shape, saved, wanted = case
    whole = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        dcpcpp.save({"w": Boxes(whole, saved, filled=True)}, checkpoint_id=folder)
        target = Boxes(whole, wanted, filled=False)
        dcpcpp.load({"w": target}, checkpoint_id=folder)
        require_equal(target.parts, Boxes(whole, wanted, filled=True).parts)
        if dtype == torch.float32:
            by_stock = {"w": torch.full(shape, -1.0)}
            stock.load(by_stock, checkpoint_id=folder)
            require_equal(by_stock["w"], whole)


@settings(deadline=None, max_examples=40)
@given(case=reshardings(), data=st.data())
def test_any_slice_of_any_boxes_is_the_slice(case, data) -> None:
    shape, saved, _ = case
    whole = torch.arange(math.prod(shape)).reshape(shape)
    index = tuple(
        data.draw(
            st.one_of(
                st.integers(-size, size - 1),
                st.slices(size).filter(lambda part: part.step in (None, 1)),
            )
        )
        for size in shape[: data.draw(st.integers(0, len(shape)))]
    )
    with tempfile.TemporaryDirectory() as folder:
        dcpcpp.save({"w": Boxes(whole, saved, filled=True)}, checkpoint_id=folder)
        require_equal(dcpcpp.open(folder).get("w", index), whole[index])


def test_boxes_that_leave_a_gap_are_an_error_on_loading(tmp_path: pathlib.Path) -> None:
    whole = ramp(4, 6)
    dcpcpp.save({"w": Boxes(whole, QUARTERS[:3], filled=True)}, checkpoint_id=tmp_path)
    loaded = Boxes(whole, QUARTERS[:3], filled=False)
    dcpcpp.load({"w": loaded}, checkpoint_id=tmp_path)
    require_equal(loaded.parts, Boxes(whole, QUARTERS[:3], filled=True).parts)
    with pytest.raises(dcpcpp.CheckpointException) as caught:
        dcpcpp.load({"w": torch.zeros(4, 6)}, checkpoint_id=tmp_path)
    cause = caught.value.failures[0][0]
    assert isinstance(cause, dcpcpp.CheckpointCorruptedError)
    assert re.search(r"\bw\b", str(cause))


def test_boxes_that_overlap_are_refused_on_saving(tmp_path: pathlib.Path) -> None:
    boxes = Boxes(ramp(4, 6), [((0, 0), (3, 6)), ((2, 0), (2, 6))], filled=True)
    with pytest.raises(dcpcpp.CheckpointException, match=r"overlap.*w|w.*overlap"):
        dcpcpp.save({"w": boxes}, checkpoint_id=tmp_path)
    assert not list(tmp_path.glob("*.distcp"))


def wrapped_shards(*, filled: bool) -> Any:
    """A DTensor whose local part is torch's own LocalShardsWrapper: two column blocks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.distributed.tensor._shards_wrapper import LocalShardsWrapper

    rank, world = dist.get_rank(), dist.get_world_size()
    whole = ramp(4, 8)
    width = 8 // world
    columns = [(rank * width, 1), (rank * width + 1, width - 1)]
    parts = [whole[:, start : start + count].contiguous() for start, count in columns]
    if not filled:
        parts = [torch.full_like(part, -1) for part in parts]
    local = LocalShardsWrapper(parts, [(0, start) for start, _ in columns])
    mesh = init_device_mesh("cpu", (world,))
    return DTensor.from_local(
        local, mesh, [Shard(1)], run_check=False, shape=whole.size(), stride=whole.stride()
    )


def wrapped_shards_travel(path: str) -> None:
    for saver in (dcpcpp, stock):
        saver.save({"w": wrapped_shards(filled=True)}, checkpoint_id=f"{path}/{saver.__name__}")
    for saver, loader in ((dcpcpp, dcpcpp), (dcpcpp, stock), (stock, dcpcpp)):
        state = {"w": wrapped_shards(filled=False)}
        loader.load(state, checkpoint_id=f"{path}/{saver.__name__}")
        expected = wrapped_shards(filled=True).to_local().local_shards()
        require_equal(list(state["w"].to_local().local_shards()), list(expected))


def test_local_shards_wrappers_travel_both_ways(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, wrapped_shards_travel, str(tmp_path))
    for library in (dcpcpp, stock):
        require_equal(dcpcpp.load_full(tmp_path / library.__name__)["w"], ramp(4, 8))
