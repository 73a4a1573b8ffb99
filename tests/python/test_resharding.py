"""Sharded tensors: saved on N ranks, loaded on M with other placements, and by stock."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock

import dcpcpp
from support.layouts import require_same_shards, sharded_state, whole_state
from support.ranks import run_on_ranks
from support.states import blank, require_equal, require_same_meaning

LIBRARIES = {"ours": dcpcpp, "stock": stock}
WORLDS = (1, 2, 4)


def save_sharded(library: str, path: str) -> Any:
    return LIBRARIES[library].save(sharded_state(0, filled=True), checkpoint_id=path)


def load_sharded(library: str, path: str, turn: int) -> None:
    state = sharded_state(turn, filled=False)
    LIBRARIES[library].load(state, checkpoint_id=path)
    require_same_shards(state, sharded_state(turn, filled=True))


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"saved on {world}")
def saved(request, tmp_path_factory) -> tuple[pathlib.Path, dict[str, list[Any]]]:
    """A checkpoint of each library, and the metadata that each rank got."""
    folder = tmp_path_factory.mktemp("sharded")
    metadata = {
        library: run_on_ranks(request.param, save_sharded, library, str(folder / library))
        for library in LIBRARIES
    }
    return folder, metadata


def test_every_rank_gets_the_metadata_that_stock_would_write(saved) -> None:
    _, metadata = saved
    assert all(type(each) is stock.Metadata for each in metadata["ours"])
    assert all(each == metadata["ours"][0] for each in metadata["ours"])
    require_same_meaning(metadata["ours"][0], metadata["stock"][0])


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"loaded on {world}")
@pytest.mark.parametrize(
    ("saver", "loader"), [("ours", "ours"), ("ours", "stock"), ("stock", "ours")]
)
def test_any_placements_load_from_any_others(saved, world: int, saver: str, loader: str) -> None:
    folder, _ = saved
    run_on_ranks(world, load_sharded, loader, str(folder / saver), world)


@pytest.mark.parametrize("saver", LIBRARIES)
def test_shards_load_as_whole_tensors(saved, saver: str) -> None:
    folder, _ = saved
    expected = whole_state(filled=True)
    state = whole_state(filled=False)
    dcpcpp.load(state, checkpoint_id=folder / saver)
    require_equal(state, expected)
    checkpoint = dcpcpp.open(folder / saver)
    require_equal({key: checkpoint[key] for key in expected}, expected)


def test_whole_tensors_load_as_shards(tmp_path: pathlib.Path) -> None:
    dcpcpp.save(whole_state(filled=True), checkpoint_id=tmp_path)
    for world in (2, 4):
        run_on_ranks(world, load_sharded, "ours", str(tmp_path), 0)


def save_sharded_tensor(path: str) -> None:
    for library in LIBRARIES.values():
        library.save(
            {"st": make_sharded_tensor(filled=True)}, checkpoint_id=f"{path}/{library.__name__}"
        )


def load_sharded_tensor(path: str) -> None:
    """Both libraries' files, by ours, and ours by stock."""
    for saver, loader in ((dcpcpp, dcpcpp), (dcpcpp, stock), (stock, dcpcpp)):
        state = {"st": make_sharded_tensor(filled=False)}
        loader.load(state, checkpoint_id=f"{path}/{saver.__name__}")
        expected = make_sharded_tensor(filled=True)
        pairs = zip(state["st"].local_shards(), expected.local_shards(), strict=True)
        for got, wanted in pairs:
            require_equal(got.tensor, wanted.tensor)


def make_sharded_tensor(*, filled: bool) -> Any:
    """5x4, two shards a rank, one after the other along the rows of each rank's part."""
    from torch.distributed._shard import sharded_tensor
    from torch.distributed._shard.metadata import ShardMetadata

    rank, world = dist.get_rank(), dist.get_world_size()
    whole = torch.arange(4.0 * 12).reshape(12, 4)
    rows = 12 // world
    shards = []
    for start, count in ((rank * rows, 1), (rank * rows + 1, rows - 1)):
        local = whole[start : start + count].clone()
        place = ShardMetadata([start, 0], list(local.shape), f"rank:{rank}/cpu")
        shards.append(sharded_tensor.Shard(local if filled else blank(local), place))
    return sharded_tensor.init_from_local_shards(shards, 12, 4)


def test_sharded_tensors_travel_both_ways_and_reshard(tmp_path: pathlib.Path) -> None:
    run_on_ranks(4, save_sharded_tensor, str(tmp_path))
    for world in (4, 2):
        run_on_ranks(world, load_sharded_tensor, str(tmp_path))
    expected = torch.arange(4.0 * 12).reshape(12, 4)
    ours, theirs = tmp_path / dcpcpp.__name__, tmp_path / stock.__name__
    for path in (ours, theirs):
        require_equal(dcpcpp.load_full(path)["st"], expected)
    require_same_meaning(
        stock.FileSystemReader(ours).read_metadata(), stock.FileSystemReader(theirs).read_metadata()
    )


def wrong_local_tensor(path: str) -> str:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    rows = 3 if dist.get_rank() else 2
    wrong = DTensor.from_local(
        torch.zeros(rows, 2), mesh, [Shard(0)], run_check=False, shape=(4, 2), stride=(2, 1)
    )
    try:
        dcpcpp.save({"wrong": wrong}, checkpoint_id=path)
    except dcpcpp.CheckpointException as error:
        return str(error)
    return "saved"


def test_a_local_tensor_that_its_placements_deny_is_refused(tmp_path: pathlib.Path) -> None:
    for message in run_on_ranks(2, wrong_local_tensor, str(tmp_path)):
        assert "local tensor of wrong has the shape (3, 2)" in message
    assert not (tmp_path / ".metadata").exists()
