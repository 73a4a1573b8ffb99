"""Tensors that torch decodes, quantized ones here, in one chunk and in several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

import dcpcpp

VALUES = torch.arange(12.0).reshape(4, 3)


def quantized(values: torch.Tensor, scale: float = 0.5) -> torch.Tensor:
    return torch.quantize_per_tensor(values, scale, 0, torch.qint8)


class Halves:
    """A tensor of four rows that is stored, and wanted, as two chunks."""

    def __init__(self, *halves: torch.Tensor) -> None:
        self._halves = halves

    def size(self) -> torch.Size:
        return torch.Size([4, 3])

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        sizes = torch.Size([2, 3])
        return [ChunkStorageMetadata(torch.Size([row, 0]), sizes) for row in (0, 2)]

    def __create_write_items__(self, fqn: str, value: object) -> list[WriteItem]:
        properties = TensorProperties(dtype=torch.qint8)
        return [
            WriteItem(
                index=MetadataIndex(fqn, chunk.offsets, number),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(chunk, properties, self.size()),
            )
            for number, chunk in enumerate(self.__create_chunk_list__())
        ]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        assert index.offset is not None
        return self._halves[index.offset[0] // 2]


@pytest.fixture
def in_halves(tmp_path: Path) -> Path:
    whole = quantized(VALUES)
    dcpcpp.save({"q": Halves(whole[:2], whole[2:])}, checkpoint_id=tmp_path / "c")
    return tmp_path / "c"


def test_chunks_of_a_quantized_tensor_are_joined(in_halves: Path) -> None:
    for loaded in (dcpcpp.load_full(in_halves)["q"], dcpcpp.open(in_halves)["q"]):
        assert loaded.dtype == torch.qint8
        assert torch.equal(loaded.dequantize(), VALUES)
    rows = dcpcpp.open(in_halves).get("q", slice(1, 3))
    assert torch.equal(rows.dequantize(), VALUES[1:3])


def test_chunks_of_a_quantized_tensor_load_in_place(in_halves: Path) -> None:
    target = quantized(torch.zeros(4, 3))
    dcpcpp.load({"q": Halves(target[:2], target[2:])}, checkpoint_id=in_halves)
    assert torch.equal(target.dequantize(), VALUES)
    target = quantized(torch.zeros(4, 3))
    dcpcpp.load({"q": target}, checkpoint_id=in_halves)
    assert torch.equal(target.dequantize(), VALUES)


def test_a_quantized_tensor_takes_the_stored_scale(tmp_path: Path) -> None:
    """Stock torch copies the integers and leaves the scale that was there."""
    dcpcpp.save({"q": quantized(VALUES)}, checkpoint_id=tmp_path)
    target = quantized(torch.zeros(4, 3), scale=1.0)
    dcpcpp.load({"q": target}, checkpoint_id=tmp_path)
    assert torch.equal(target.dequantize(), VALUES)


def test_chunks_with_scales_of_their_own_are_not_joined(tmp_path: Path) -> None:
    halves = Halves(quantized(VALUES[:2], 0.5), quantized(VALUES[2:], 1.0))
    dcpcpp.save({"q": halves}, checkpoint_id=tmp_path)
    with pytest.raises(ValueError, match="a part of a quantized tensor has"):
        dcpcpp.load_full(tmp_path)


def test_a_tensor_with_one_memory_for_several_elements_is_not_loaded_to(tmp_path: Path) -> None:
    dcpcpp.save({"w": VALUES}, checkpoint_id=tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="single memory location") as info:
        dcpcpp.load({"w": torch.zeros(1, 3).expand(4, 3)}, checkpoint_id=tmp_path)
    assert isinstance(info.value.failures[0][0], RuntimeError)
