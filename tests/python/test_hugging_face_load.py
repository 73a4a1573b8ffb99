"""Loads of safetensors: single files, indexed ones, and those that ranks wrote for themselves."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader as StockReader,
)
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageWriter as StockWriter,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dcpcpp
from support.ranks import run_on_ranks
from support.states import bits, blank, ramp, require_equal

INDEX = "model.safetensors.index.json"
TENSORS = {
    "embed.weight": ramp(7, 5),
    "layers.0.w": ramp(6, 4, dtype=torch.bfloat16, start=3),
    "layers.0.scale": torch.tensor(3.5),
    "mask": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 4),
    "ids": torch.arange(10, dtype=torch.int64),
}
DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32),
    *(torch.int64, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz),
    *(torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
]


def write(folder: pathlib.Path, files: dict[str, dict[str, torch.Tensor]]) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    for name, tensors in files.items():
        safetensors.torch.save_file(tensors, folder / name, metadata={"format": "pt"})
    return folder


def write_index(folder: pathlib.Path, weight_map: dict[str, str], name: str = INDEX) -> None:
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    (folder / name).write_text(text)


def require_holds(folder: pathlib.Path) -> None:
    """All of TENSORS, in whatever order."""
    loaded = dcpcpp.load_full(folder)
    require_equal(dict(sorted(loaded.items())), dict(sorted(TENSORS.items())))


@pytest.fixture
def single(tmp_path: pathlib.Path) -> pathlib.Path:
    return write(tmp_path / "single", {"model.safetensors": TENSORS})


@pytest.fixture
def sharded(tmp_path: pathlib.Path) -> pathlib.Path:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves: list[dict[str, torch.Tensor]] = [{}, {}]
    for position, (key, tensor) in enumerate(TENSORS.items()):
        halves[position % 2][key] = tensor
    folder = write(tmp_path / "sharded", dict(zip(names, halves, strict=True)))
    write_index(
        folder, {key: name for name, half in zip(names, halves, strict=True) for key in half}
    )
    return folder


@pytest.mark.parametrize("kind", ["single", "sharded"])
def test_a_path_alone_is_enough(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    loaded = blank(TENSORS)
    report = dcpcpp.LoadReport()
    dcpcpp.load(loaded, checkpoint_id=folder, report=report)
    require_equal(loaded, TENSORS)
    assert (report.missing, report.unexpected, report.cast) == ([], [], {})
    assert report.nbytes_read == sum(t.nbytes for t in TENSORS.values())
    require_holds(folder)
    assert torch.equal(dcpcpp.open(folder).get("embed.weight", slice(2, 4)), ramp(7, 5)[2:4])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_comes_back(dtype: torch.dtype, tmp_path: pathlib.Path) -> None:
    numbers = torch.arange(32, dtype=torch.uint8)
    tensor = numbers.view(torch.bool) if dtype is torch.bool else numbers.view(dtype)
    tensor = (numbers % 2).bool() if dtype is torch.bool else tensor
    folder = write(tmp_path, {"model.safetensors": {"w": tensor}})
    found = dcpcpp.load_full(folder)["w"]
    assert (found.dtype, found.shape) == (dtype, tensor.shape)
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


def test_the_reader_under_torchs_name_works_in_both_libraries(sharded: pathlib.Path) -> None:
    for library in (dcpcpp, stock):
        for reader in (dcpcpp.HuggingFaceStorageReader(str(sharded)), StockReader(str(sharded))):
            loaded = blank(TENSORS)
            library.load(loaded, storage_reader=reader)
            require_equal(loaded, TENSORS)
    assert issubclass(dcpcpp.HuggingFaceStorageReader, StockReader)


def test_a_users_planner_gets_its_tensors_too(single: pathlib.Path) -> None:
    class Planner(dcpcpp.DefaultLoadPlanner):
        resolved = 0

        def resolve_tensor(self, read_item: Any) -> torch.Tensor:
            Planner.resolved += 1
            return super().resolve_tensor(read_item)

    loaded = blank(TENSORS)
    dcpcpp.load(loaded, checkpoint_id=single, planner=Planner())
    require_equal(loaded, TENSORS)
    assert Planner.resolved >= len(TENSORS) - 1


def test_conversions_are_reported(single: pathlib.Path) -> None:
    loaded = {"embed.weight": torch.zeros(7, 5, dtype=torch.float64)}
    report = dcpcpp.LoadReport()
    dcpcpp.load(loaded, checkpoint_id=single, report=report)
    assert torch.equal(loaded["embed.weight"], ramp(7, 5).double())
    assert report.cast == {"embed.weight": ("torch.float32", "torch.float64")}
    assert "ids" in report.unexpected


def test_only_what_the_index_lists_counts(sharded: pathlib.Path) -> None:
    write(sharded, {"left_of_another.safetensors": {"ids": torch.zeros(10, dtype=torch.int64)}})
    second = sharded / "model-00002-of-00002.safetensors"
    there = safetensors.torch.load_file(second)
    write(sharded, {second.name: {**there, "embed.weight": ramp(7, 5, start=50)}})
    require_holds(sharded)


def test_an_index_of_another_name_counts_if_it_is_the_only_one(sharded: pathlib.Path) -> None:
    (sharded / INDEX).rename(sharded / "diffusion_pytorch_model.safetensors.index.json")
    require_holds(sharded)
    write_index(sharded, {}, "model.fp16.safetensors.index.json")
    with pytest.raises(ValueError, match=r"several indices .*diffusion_.* none is called model"):
        dcpcpp.open(sharded)


# Ranks' own files, as torch writes them.


def mesh_of(shape: tuple[int, ...]) -> Any:
    names = ("a", "b")[: len(shape)]
    return init_device_mesh("cpu", shape, mesh_dim_names=names)


def sharded_state(fill: int) -> dict[str, torch.Tensor]:
    mesh = mesh_of((dist.get_world_size(),))
    rows, columns = ramp(7, 6, start=fill), ramp(4, 10, start=fill, dtype=torch.bfloat16)
    return {
        "rows": distribute_tensor(rows, mesh, [Shard(0)]),
        "columns": distribute_tensor(columns, mesh, [Shard(1)]),
        "same": distribute_tensor(ramp(3, start=fill), mesh, [Replicate()]),
    }


def write_ranks_files(folder: pathlib.Path) -> None:
    stock.save(sharded_state(1), storage_writer=StockWriter(str(folder), save_distributed=True))


def load_and_compare(folder: pathlib.Path) -> None:
    loaded = sharded_state(1000)
    dcpcpp.load(loaded, checkpoint_id=folder)
    for key, expected in sharded_state(1).items():
        assert bits(loaded[key].to_local()) == bits(expected.to_local()), key


@pytest.fixture
def ranks_files(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "ranks"
    run_on_ranks(2, write_ranks_files, folder)
    assert len(list(folder.glob("shard-*.safetensors"))) == 2
    return folder


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_files_are_one_checkpoint(world_size: int, ranks_files: pathlib.Path) -> None:
    run_on_ranks(world_size, load_and_compare, ranks_files)


@pytest.mark.parametrize("world_size", [2, 4])
def test_whole_files_are_resharded(world_size: int, tmp_path: pathlib.Path) -> None:
    whole = {
        "rows": ramp(7, 6, start=1),
        "columns": ramp(4, 10, start=1, dtype=torch.bfloat16),
        "same": ramp(3, start=1),
    }
    folder = write(tmp_path / "whole", {"model.safetensors": whole})
    run_on_ranks(world_size, load_and_compare, folder)


def test_a_missing_file_of_a_rank_is_an_error(ranks_files: pathlib.Path) -> None:
    """Where stock torch's consolidation fills in zeros."""
    next(ranks_files.glob("shard-00001-*")).unlink()
    with pytest.raises(dcpcpp.CheckpointException, match=r"columns|rows"):
        dcpcpp.load({"rows": torch.zeros(7, 6)}, checkpoint_id=ranks_files)


# What is wrong is told.


def test_a_tensor_in_two_files_is_an_error(single: pathlib.Path) -> None:
    shutil.copy(single / "model.safetensors", single / "old.safetensors")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"it is in model\.safetensors too"):
        dcpcpp.open(single)


def test_a_name_in_the_index_that_is_nowhere_is_an_error(sharded: pathlib.Path) -> None:
    weight_map = json.loads((sharded / INDEX).read_text())["weight_map"]
    write_index(sharded, {**weight_map, "more": "model-00001-of-00002.safetensors"})
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"no such tensor, key more"):
        dcpcpp.open(sharded)
    write_index(sharded, {**weight_map, "more": "absent.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"by the index .*absent\.safetensors"):
        dcpcpp.open(sharded)


@pytest.mark.parametrize("name", ["../out.safetensors", "/etc/passwd", "a/../../out.safetensors"])
def test_an_index_does_not_lead_outside(name: str, sharded: pathlib.Path) -> None:
    write(sharded.parent, {"out.safetensors": {"w": ramp(2)}})
    write_index(sharded, {"w": name})
    with pytest.raises((dcpcpp.CheckpointCorruptedError, ValueError)):
        dcpcpp.open(sharded)


@pytest.mark.parametrize("cut", [0, 5, 8, 100, -1])
def test_cut_files_are_damaged(cut: int, single: pathlib.Path) -> None:
    file = single / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"model\.safetensors"):
        dcpcpp.load_full(single)


def test_a_native_save_into_a_directory_of_safetensors_is_refused(single: pathlib.Path) -> None:
    before = sorted(single.iterdir())
    with pytest.raises(dcpcpp.CheckpointException, match="holds a safetensors checkpoint"):
        dcpcpp.save({"w": ramp(3)}, checkpoint_id=single)
    assert sorted(single.iterdir()) == before


def test_a_directory_with_both_formats_needs_a_word(
    single: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dcpcpp.save({"w": ramp(3)}, checkpoint_id=tmp_path / "native")
    shutil.copytree(tmp_path / "native", single, dirs_exist_ok=True)
    for call in (dcpcpp.open, dcpcpp.load_full):
        with pytest.raises(ValueError, match=r"both: .*format="):
            call(single)
    assert dcpcpp.open(single, format="dcp").keys() == ["w"]
    assert set(dcpcpp.open(single, format="hf")) == set(TENSORS)
    loaded = blank(TENSORS)
    with pytest.raises(dcpcpp.CheckpointException, match="both"):
        dcpcpp.load(loaded, checkpoint_id=single)
    dcpcpp.load(loaded, checkpoint_id=single, format="hf")
    require_equal(loaded, TENSORS)


def test_a_format_that_is_none_is_refused(single: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="'dcp' or 'hf'"):
        dcpcpp.open(single, format="safetensors")
    reader = dcpcpp.HuggingFaceStorageReader(single)
    with pytest.raises(ValueError, match="not with a reader"):
        dcpcpp.open(storage_reader=reader, format="hf")


# Hub caches: snapshots are links to blobs in the same folder.


def test_a_snapshot_of_a_hub_cache_loads(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "models--org--name"
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    safetensors.torch.save_file(TENSORS, cache / "blobs" / "1234")
    (snapshot / "model.safetensors").symlink_to("../../blobs/1234")
    require_holds(snapshot)


def test_links_to_elsewhere_are_refused(single: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(single / "model.safetensors")
    with pytest.raises((ValueError, OSError), match=r"links/model\.safetensors"):
        dcpcpp.open(folder)
