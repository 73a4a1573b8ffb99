"""Safetensors files of each rank's own: torch's, for DCP's readers, all at once."""

from __future__ import annotations

import json
import pathlib
import warnings
from typing import Any

import pytest
import safetensors
import torch
import torch.distributed as dist
from torch.distributed import checkpoint as stock
from torch.distributed.checkpoint import _consolidate_hf_safetensors as stock_consolidation
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader as StockReader,
)
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageWriter as StockWriter,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dcpcpp
from dcpcpp import _consolidate_hf_safetensors as consolidation
from support.ranks import RankError, run_on_ranks
from support.states import bits, blank, ramp, require_equal

NAME = "shard-{:05}-model-{:05}-of-{:05}.safetensors"


def model(start: int = 0) -> dict[str, torch.Tensor]:
    return {
        "embed.weight": ramp(31, 40, start=start),
        "half": ramp(9, 6, dtype=torch.bfloat16, start=start),
        "norm": ramp(3, start=start),
        "scalar": torch.tensor(3.5 + start),
    }


def sharded(whole: dict[str, torch.Tensor], dim: int = 0) -> dict[str, Any]:
    """Sharded by rows, or by columns, but for what has no such dimension."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def of(value: torch.Tensor) -> Any:
        return Shard(dim) if value.dim() > dim else Replicate()

    return {key: distribute_tensor(value, mesh, [of(value)]) for key, value in whole.items()}


def save(
    folder: pathlib.Path, dim: int = 0, start: int = 0, mapping: dict[str, int] | None = None
) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(folder, mapping, save_distributed=True)
    dcpcpp.save(sharded(model(start), dim), storage_writer=writer)


def save_as_stock(folder: pathlib.Path, mapping: dict[str, int] | None = None) -> None:
    writer = StockWriter(str(folder), mapping, save_distributed=True)
    stock.save(sharded(model()), storage_writer=writer)


def visible(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def held_in(path: pathlib.Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The tensors of a file, and what it says of itself."""
    with safetensors.safe_open(path, "pt") as file:
        said: dict[str, Any] = dict(file.metadata())
        said["DCP_SHARDING_INFO"] = json.loads(said["DCP_SHARDING_INFO"])
        return {key: bits(file.get_tensor(key)) for key in file.keys()}, said  # noqa: SIM118


@pytest.mark.parametrize("mapping", [None, {"embed.weight": 3, "half": 1, "norm": 3, "scalar": 1}])
def test_the_files_are_those_that_torch_writes(
    mapping: dict[str, int] | None, tmp_path: pathlib.Path
) -> None:
    run_on_ranks(2, save, tmp_path / "ours", 0, 0, mapping)
    run_on_ranks(2, save_as_stock, tmp_path / "stock", mapping)
    names = visible(tmp_path / "stock")
    assert visible(tmp_path / "ours") == names
    assert len(names) == (2 if mapping is None else 4)
    for name in names:
        ours, theirs = held_in(tmp_path / "ours" / name), held_in(tmp_path / "stock" / name)
        # Who writes what all have is the planner's choice.
        for tensors, said in (ours, theirs):
            tensors.pop("scalar", None)
            said["DCP_SHARDING_INFO"].pop("scalar", None)
        assert ours == theirs


def load(folder: pathlib.Path, kind: str, dim: int) -> None:
    loaded = sharded({key: blank(value) for key, value in model().items()}, dim)
    if kind == "stock":
        stock.load(loaded, storage_reader=StockReader(str(folder)))
    else:
        dcpcpp.load(loaded, checkpoint_id=folder)
    for key, expected in sharded(model(), dim).items():
        assert bits(loaded[key].to_local()) == bits(expected.to_local()), key


@pytest.mark.parametrize("kind", ["ours", "stock"])
@pytest.mark.parametrize(
    ("saved", "loaded"), [((2, 0), (2, 1)), ((3, 1), (2, 0)), ((1, 0), (4, 0))]
)
def test_both_readers_reshard_them(
    kind: str, saved: tuple[int, int], loaded: tuple[int, int], tmp_path: pathlib.Path
) -> None:
    (world_size, dim), (other_size, other_dim) = saved, loaded
    run_on_ranks(world_size, save, tmp_path, dim)
    run_on_ranks(other_size, load, tmp_path, kind, other_dim)


def test_both_consolidations_take_them(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save, tmp_path / "in")
    mapping = dict.fromkeys(model(), 1)
    consolidation.consolidate_safetensors_files(tmp_path / "in", tmp_path / "ours", None)
    require_equal(
        dict(sorted(dcpcpp.load_full(tmp_path / "ours").items())), dict(sorted(model().items()))
    )
    (tmp_path / "stock").mkdir()
    stock_consolidation.consolidate_safetensors_files(
        str(tmp_path / "in"), str(tmp_path / "stock"), mapping
    )
    theirs = dcpcpp.load_full(tmp_path / "stock")
    assert torch.equal(theirs["embed.weight"], model()["embed.weight"])
    assert torch.equal(theirs["half"], model()["half"])


def save_with_stocks_writer(folder: pathlib.Path) -> None:
    writer = StockWriter(str(folder), save_distributed=True)
    dcpcpp.save(sharded(model()), storage_writer=writer)


def test_torchs_own_writer_is_taken_for_ours(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_with_stocks_writer, tmp_path)
    assert visible(tmp_path) == [NAME.format(1, 1, 1), NAME.format(2, 1, 1)]
    assert dcpcpp.verify(tmp_path).ok
    assert any(path.name.startswith(".dcpcpp-") for path in tmp_path.iterdir())


def save_asynchronously(folder: pathlib.Path, kind: Any) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(folder, save_distributed=True)
    saved = dcpcpp.async_save(sharded(model()), storage_writer=writer, async_checkpointer_type=kind)
    saved.result(60)


@pytest.mark.parametrize("kind", list(dcpcpp.AsyncCheckpointerType))
def test_saves_are_asynchronous_too(kind: Any, tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_asynchronously, tmp_path, kind)
    run_on_ranks(2, load, tmp_path, "ours", 0)
    assert len(visible(tmp_path)) == 2


def test_an_overwrite_leaves_no_file_of_a_rank_that_is_gone(tmp_path: pathlib.Path) -> None:
    """Where stock's writer leaves them, and its reader takes them."""
    folder = tmp_path / "m"
    run_on_ranks(3, save, folder, 0, 7)
    (folder / "config.json").write_text("{}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writer = dcpcpp.HuggingFaceStorageWriter(folder, save_distributed=True)
        dcpcpp.save(model(), storage_writer=writer)
    assert any("Detected an existing checkpoint" in str(w.message) for w in caught)
    assert visible(folder) == ["config.json", NAME.format(1, 1, 1)]
    require_equal(dict(sorted(dcpcpp.load_full(folder).items())), dict(sorted(model().items())))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_has_no_place_in_ranks_files_is_refused(tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path, save_distributed=True)
    with pytest.raises(dcpcpp.CheckpointException, match="step is no tensor"):
        dcpcpp.save({"w": torch.ones(2), "step": 3}, storage_writer=writer)
    (tmp_path / "logs").mkdir()
    dcpcpp.save(model(), storage_writer=writer)  # a directory is in the way of overwrites only
    with pytest.raises(dcpcpp.CheckpointException, match="save into another directory"):
        dcpcpp.save(model(1), storage_writer=writer)
    require_equal(dict(sorted(dcpcpp.load_full(tmp_path).items())), dict(sorted(model().items())))


def test_a_file_that_is_gone_is_missed(tmp_path: pathlib.Path) -> None:
    """Also the last one, without which stock's reader finds a smaller tensor."""
    run_on_ranks(2, save, tmp_path)
    (tmp_path / NAME.format(2, 1, 1)).unlink()
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="the file of a rank is missing"):
        dcpcpp.open(tmp_path)
    with pytest.raises(RankError, match="the file of a rank is missing"):
        run_on_ranks(2, load, tmp_path, "ours", 0)
