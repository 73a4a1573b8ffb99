"""Replicated tensors are written once, and every rank writes its share."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock

import dcpcpp
from support.ranks import run_on_ranks
from support.states import bits, blank, ramp, require_equal

MIB = 1 << 20


def replicated(sizes: list[int]) -> dict[str, torch.Tensor]:
    """Plain float32 tensors of about `sizes` bytes, the same on all ranks, as under DDP."""
    state = {}
    for number, nbytes in enumerate(sizes):
        rows = max(nbytes // 4096, 1)
        state[f"t{number}"] = torch.arange(rows * 1024, dtype=torch.float32).reshape(rows, 1024)
    return state


def save_replicated(path: str, sizes: list[int], lowest: bool) -> Any:
    planner = stock.DefaultSavePlanner(dedup_save_to_lowest_rank=lowest)
    return dcpcpp.save(replicated(sizes), checkpoint_id=path, planner=planner)


def nbytes_by_rank(metadata: stock.Metadata) -> dict[int, int]:
    """Bytes that each rank wrote, by the names of the files."""
    written: dict[int, int] = defaultdict(int)
    for info in metadata.storage_data.values():
        written[int(info.relative_path.split("_")[2])] += info.length
    return dict(written)


def test_what_all_ranks_hold_is_written_once_and_evenly(tmp_path: pathlib.Path) -> None:
    sizes = [MIB * n for n in (1, 5, 2, 4, 3, 1, 2, 2, 4)]
    metadata = run_on_ranks(4, save_replicated, str(tmp_path), sizes, False)[0]
    total = sum(value.nbytes for value in replicated(sizes).values())
    on_disk = sum(path.stat().st_size for path in tmp_path.glob("*.distcp"))
    assert total <= on_disk <= 1.01 * total, "replicated tensors are stored more than once"
    written = nbytes_by_rank(metadata)
    assert sorted(written) == [0, 1, 2, 3]
    assert max(written.values()) <= 1.05 * total / 4
    state = replicated(sizes)
    loaded = blank(state)
    stock.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state)


def test_a_large_replicated_tensor_is_shared_between_the_ranks(tmp_path: pathlib.Path) -> None:
    sizes = [160 * MIB, MIB]
    metadata = run_on_ranks(4, save_replicated, str(tmp_path), sizes, False)[0]
    chunks = metadata.state_dict_metadata["t0"].chunks
    assert len(chunks) == 4
    assert len(metadata.state_dict_metadata["t1"].chunks) == 1
    assert {tuple(chunk.sizes)[1] for chunk in chunks} == {1024}, "cut along dim 0 only"
    written = nbytes_by_rank(metadata)
    assert max(written.values()) <= 1.05 * sum(written.values()) / 4
    expected = replicated(sizes)
    loaded = blank(expected)
    stock.load(loaded, checkpoint_id=tmp_path)
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    assert bits(dcpcpp.open(tmp_path).get("t0", (slice(10239, 10241),))) == bits(
        expected["t0"][10239:10241]
    )


def test_the_lowest_rank_writes_all_if_the_planner_says_so(tmp_path: pathlib.Path) -> None:
    sizes = [40 * MIB, MIB]
    metadata = run_on_ranks(2, save_replicated, str(tmp_path), sizes, True)[0]
    assert list(nbytes_by_rank(metadata)) == [0]
    assert len(metadata.state_dict_metadata["t0"].chunks) == 1


def save_hsdp(path: str, library: str) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2, 2))
    state = {
        f"t{number}": distribute_tensor(
            ramp(256, 1024), mesh, [Replicate(), Shard(0)], src_data_rank=None
        )
        for number in range(8)
    }
    state["step"] = 3
    return {"ours": dcpcpp, "stock": stock}[library].save(state, checkpoint_id=path)


def test_replicas_of_shards_are_written_once_and_evenly(tmp_path: pathlib.Path) -> None:
    metadata = run_on_ranks(4, save_hsdp, str(tmp_path), "ours")[0]
    total = 8 * MIB
    written = nbytes_by_rank(metadata)
    assert sum(written.values()) <= 1.02 * total
    assert max(written.values()) <= 1.05 * total / 4
    assert len(metadata.state_dict_metadata["t0"].chunks) == 2


def save_different_keys(path: str) -> Any:
    """Each rank has keys of its own; all have one plain tensor and one object."""
    rank = dist.get_rank()
    state = {"common": ramp(3), "object": "same", f"own.{rank}": ramp(2) + rank}
    return dcpcpp.save(state, checkpoint_id=path)


def test_keys_of_all_ranks_are_in_the_checkpoint(tmp_path: pathlib.Path) -> None:
    metadata = run_on_ranks(4, save_different_keys, str(tmp_path))
    assert all(each == metadata[0] for each in metadata)
    state = dcpcpp.load_full(tmp_path)
    expected = {"common": ramp(3), "object": "same"}
    expected |= {f"own.{rank}": ramp(2) + rank for rank in range(4)}
    require_equal({key: state[key] for key in expected}, expected)
    by_stock = blank(expected)
    stock.load(by_stock, checkpoint_id=tmp_path)
    require_equal(by_stock, expected)


@pytest.mark.parametrize("rank_with_more", [0, 1])
def test_a_rank_with_shards_of_its_own_gets_less_of_the_rest(
    rank_with_more: int, tmp_path: pathlib.Path
) -> None:
    metadata = run_on_ranks(2, save_uneven, str(tmp_path), rank_with_more)[0]
    written = nbytes_by_rank(metadata)
    assert max(written.values()) <= 1.05 * sum(written.values()) / 2


def save_uneven(path: str, rank_with_more: int) -> Any:
    state = replicated([MIB] * 8)
    if dist.get_rank() == rank_with_more:
        state["mine"] = torch.zeros(4 * MIB, dtype=torch.uint8)
    return dcpcpp.save(state, checkpoint_id=path)
