"""Conversions between formats, beside stock torch's."""

from __future__ import annotations

import collections
import pathlib
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch import nn
from torch.distributed.checkpoint import format_utils as stock_utils
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpcpp
from support.ranks import run_on_ranks
from support.states import bits, ramp, require_equal

DTYPES = [
    *(torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16),
    *(torch.int32, torch.int64, torch.bool, torch.complex64, torch.uint16, torch.float8_e4m3fn),
]


def trained() -> dict[str, Any]:
    """Model, optimizer and scheduler after real steps, and other things of a training."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 7)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "step": 3,
    }


def varied() -> dict[str, Any]:
    tied = ramp(6, 4)
    return {
        "dtypes": {str(dtype): ramp(3, 5).to(dtype) for dtype in DTYPES},
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
        "transposed": ramp(5, 7).t(),
        "tied": [tied, {"same": tied}],
        "text": "ü",
        "none": None,
        "number": 2**40,
        "negative": -1.5,
        "flags": [True, False],
        "pair": (1, "two", b"\0\xff"),
        "names": ["a", ["b"]],
        "size": torch.Size([2, 3]),
        "type": torch.bfloat16,
    }


STATES = {"trained": trained, "varied": varied}


def flat(state: dict[str, Any]) -> dict[str, Any]:
    """The state as torch flattens and unflattens it."""
    leaves, paths = stock._nested_dict.flatten_state_dict(state)
    return stock._nested_dict.unflatten_state_dict(leaves, paths)


def load_torch(path: pathlib.Path, **options: Any) -> Any:
    return torch.load(path, weights_only=True, **options)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("writer", ["dcpcpp", "stock"])
def test_a_checkpoint_becomes_the_torch_file_that_stock_makes(
    name: str, writer: str, tmp_path: pathlib.Path
) -> None:
    state = STATES[name]()
    save = stock.save if writer == "stock" else dcpcpp.save
    save(state, checkpoint_id=tmp_path / "dcp")
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "ours.pt")
    stock_utils.dcp_to_torch_save(tmp_path / "dcp", tmp_path / "stock.pt")
    ours, theirs = load_torch(tmp_path / "ours.pt"), load_torch(tmp_path / "stock.pt")
    require_equal(ours, theirs)
    require_equal(ours, flat(state))
    require_equal(load_torch(tmp_path / "ours.pt", mmap=True), theirs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dcp", "ours.pt", "stock.pt"]


@pytest.mark.parametrize("name", STATES)
def test_a_torch_file_becomes_the_checkpoint_that_stock_makes(
    name: str, tmp_path: pathlib.Path
) -> None:
    state = STATES[name]()
    torch.save(state, tmp_path / "m.pt")
    dcpcpp.convert(tmp_path / "m.pt", tmp_path / "ours")
    stock_utils.torch_save_to_dcp(tmp_path / "m.pt", tmp_path / "stock")
    ours = stock.FileSystemReader(tmp_path / "ours").read_metadata()
    theirs = stock.FileSystemReader(tmp_path / "stock").read_metadata()
    assert ours.planner_data == theirs.planner_data
    assert list(ours.state_dict_metadata) == list(theirs.state_dict_metadata)
    for key, described in theirs.state_dict_metadata.items():
        if isinstance(described, stock.metadata.TensorStorageMetadata):
            found = ours.state_dict_metadata[key]
            assert found.chunks == described.chunks
            assert found.size == described.size
            assert found.properties.dtype == described.properties.dtype
            assert found.properties.requires_grad == described.properties.requires_grad
    for folder in ("ours", "stock"):
        loaded: dict[str, Any] = {}
        stock.state_dict_loader._load_state_dict(
            loaded,
            stock.FileSystemReader(tmp_path / folder),
            planner=stock.default_planner._EmptyStateDictLoadPlanner(),
            no_dist=True,
        )
        require_equal(loaded, flat(state))
    require_equal(dcpcpp.load_full(tmp_path / "ours"), flat(state))
    assert dcpcpp.verify(tmp_path / "ours").ok


def test_a_resumed_training_goes_on_from_a_torch_file(tmp_path: pathlib.Path) -> None:
    state = trained()
    dcpcpp.save(state, checkpoint_id=tmp_path / "dcp")
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "m.pth")
    loaded = load_torch(tmp_path / "m.pth")
    model = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    model.load_state_dict(loaded["model"])
    require_equal(dict(model.state_dict()), dict(state["model"]))


def test_views_of_a_storage_come_out_of_a_torch_file(tmp_path: pathlib.Path) -> None:
    storage = ramp(100, 100)
    state = {
        "whole": storage,
        "columns": storage[:, 10:20],
        "row": storage[3],
        "steps": storage[::7, ::3],
        "transposed": storage.t(),
        "expanded": torch.tensor([1.0, 2.0]).expand(50, 2),
        "parameter": nn.Parameter(ramp(3)),
        "conj": torch.complex(ramp(4), ramp(4, start=9)).conj(),
    }
    torch.save(state, tmp_path / "m.pt")
    dcpcpp.convert(tmp_path / "m.pt", tmp_path / "dcp")
    loaded = dcpcpp.load_full(tmp_path / "dcp")
    assert list(loaded) == list(state)
    for key, tensor in state.items():
        assert bits(loaded[key]) == bits(tensor), key


def test_counters_and_tensors_in_tuples_are_kept(tmp_path: pathlib.Path) -> None:
    state = {
        "pair": (ramp(3), ramp(4)),
        "scheduler": {"milestones": collections.Counter({2: 1})},
        "ordered": collections.OrderedDict(x=ramp(2)),
    }
    torch.save(state, tmp_path / "m.pt")
    dcpcpp.convert(tmp_path / "m.pt", tmp_path / "dcp")
    require_equal(dcpcpp.load_full(tmp_path / "dcp"), flat(state))
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "again.pt")
    require_equal(load_torch(tmp_path / "again.pt"), flat(state))


def save_sharded(path: str) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    state = {
        "rows": distribute_tensor(ramp(7, 6), mesh, [Shard(0)]),
        "columns": distribute_tensor(ramp(6, 9), mesh, [Shard(1)]),
        "all": ramp(5),
        "step": 4,
    }
    stock.save(state, checkpoint_id=path)


def test_shards_of_ranks_become_whole_tensors(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_sharded, str(tmp_path / "dcp"))
    expected = {"rows": ramp(7, 6), "columns": ramp(6, 9), "all": ramp(5), "step": 4}
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "m.pt")
    require_equal(
        dict(sorted(load_torch(tmp_path / "m.pt").items())), dict(sorted(expected.items()))
    )
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "one")
    metadata = stock.FileSystemReader(tmp_path / "one").read_metadata()
    assert all(
        len(described.chunks) == 1
        for key, described in metadata.state_dict_metadata.items()
        if key != "step"
    )
    loaded = {key: torch.zeros_like(value) for key, value in expected.items() if key != "step"}
    stock.load(loaded, checkpoint_id=tmp_path / "one", no_dist=True)
    for key, value in loaded.items():
        assert bits(value) == bits(expected[key])


def test_safetensors_become_a_checkpoint_and_a_torch_file(tmp_path: pathlib.Path) -> None:
    tensors = {"a.w": ramp(5, 3), "b": torch.tensor(2.5), "ids": torch.arange(4)}
    (tmp_path / "hf").mkdir()
    safetensors.torch.save_file(tensors, tmp_path / "hf" / "model.safetensors")
    report = dcpcpp.convert(tmp_path / "hf", tmp_path / "dcp", dtype="bfloat16")
    assert (report.tensors, report.objects, report.nbytes) == (3, 0, 15 * 2 + 2 + 32)
    expected = {
        key: value.to(torch.bfloat16) if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    loaded = {key: torch.zeros_like(value) for key, value in expected.items()}
    stock.load(loaded, checkpoint_id=tmp_path / "dcp", no_dist=True)
    require_equal(loaded, expected)
    dcpcpp.convert(tmp_path / "hf", tmp_path / "m.bin")
    assert {key: bits(v) for key, v in load_torch(tmp_path / "m.bin").items()} == {
        key: bits(v) for key, v in tensors.items()
    }


@pytest.mark.parametrize("to", [".pt", ""])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_casts_round_as_torch_does(to: str, dtype: torch.dtype, tmp_path: pathlib.Path) -> None:
    torch.manual_seed(0)
    state = {"w": torch.randn(100, 70), "i": torch.arange(5), "h": torch.randn(9).half()}
    stock.save(state, checkpoint_id=tmp_path / "dcp", no_dist=True)
    target = tmp_path / f"new{to}"
    dcpcpp.convert(tmp_path / "dcp", target, dtype=dtype)
    loaded = load_torch(target) if to else dcpcpp.load_full(target)
    require_equal(loaded, {"w": state["w"].to(dtype), "i": state["i"], "h": state["h"].to(dtype)})


def test_objects_stay_what_they_were_bit_by_bit(tmp_path: pathlib.Path) -> None:
    stock.save({"o": {"k": (1, {2: 3})}}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "new")

    def stored(folder: pathlib.Path) -> bytes:
        metadata = stock.FileSystemReader(folder).read_metadata()
        (place,) = metadata.storage_data.values()
        content = (folder / place.relative_path).read_bytes()
        return content[place.offset : place.offset + place.length]

    assert stored(tmp_path / "dcp") == stored(tmp_path / "new")
