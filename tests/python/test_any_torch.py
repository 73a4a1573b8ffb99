"""What every torch since 2.4 does with dcpcpp; `make test-torch` runs it with others than ours.

It uses only what all of them have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh

import dcpcpp
from support.ranks import run_on_ranks

try:
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
except ImportError:  # before torch 2.5
    from torch.distributed._tensor import DTensor, Replicate, Shard, distribute_tensor

LIBRARIES = {"dcpcpp": dcpcpp, "stock": stock}
PAIRS = [("dcpcpp", "dcpcpp"), ("dcpcpp", "stock"), ("stock", "dcpcpp")]


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer, dict[str, Any]]:
    """A model that took a step, its optimizer, and a state of many kinds of values."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Linear(5, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model(torch.ones(2, 7)).sum().backward()
    optimizer.step()
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return (
        model,
        optimizer,
        {
            "model": model_state,
            "optim": optimizer_state,
            "half": torch.arange(6).bfloat16().reshape(2, 3).t(),
            "step": 3,
            "list": [torch.ones(2), "text", {"deep": 1.5}],
        },
    )


def blank(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, dict):
        return {key: blank(part) for key, part in value.items()}
    return [blank(part) for part in value] if isinstance(value, list) else None


def require_equal(left: Any, right: Any) -> None:
    if isinstance(right, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(right, dict):
        assert left.keys() == right.keys()
        for key, value in right.items():
            require_equal(left[key], value)
    elif isinstance(right, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            require_equal(one, other)
    else:
        assert left == right


@pytest.mark.parametrize(("saver", "loader"), PAIRS)
def test_each_loads_what_the_other_saved(tmp_path: Path, saver: str, loader: str) -> None:
    model, optimizer, state = trained()
    LIBRARIES[saver].save(state, checkpoint_id=tmp_path / "c")
    again = blank(state)
    LIBRARIES[loader].load(again, checkpoint_id=tmp_path / "c")
    require_equal(again, state)
    set_state_dict(
        model, optimizer, model_state_dict=again["model"], optim_state_dict=again["optim"]
    )
    require_equal(dcpcpp.load_full(tmp_path / "c", {"model", "half"})["half"], state["half"])
    assert dcpcpp.verify(tmp_path / "c").ok


def sharded(library: str, path: str, whole: torch.Tensor) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    LIBRARIES[library].save(
        {
            "rows": distribute_tensor(whole, mesh, [Shard(0)]),
            "all": distribute_tensor(whole, mesh, [Replicate()]),
            "plain": whole + 1,
        },
        checkpoint_id=path,
    )


def resharded(library: str, path: str, whole: torch.Tensor) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    columns = distribute_tensor(torch.zeros_like(whole), mesh, [Shard(1)])
    state = {"rows": columns, "all": torch.zeros_like(whole), "plain": torch.zeros_like(whole)}
    LIBRARIES[library].load(state, checkpoint_id=path)
    assert isinstance(columns, DTensor)
    require_equal(columns.full_tensor(), whole)
    require_equal(state["all"], whole)
    require_equal(state["plain"], whole + 1)


@pytest.mark.parametrize(("saver", "loader"), PAIRS)
def test_two_ranks_reshard_what_either_saved(tmp_path: Path, saver: str, loader: str) -> None:
    whole = torch.arange(35.0).reshape(5, 7)
    run_on_ranks(2, sharded, saver, str(tmp_path / "c"), whole)
    run_on_ranks(2, resharded, loader, str(tmp_path / "c"), whole)
    require_equal(dcpcpp.open(tmp_path / "c").get("rows"), whole)


def test_our_reader_and_writer_serve_torchs_calls(tmp_path: Path) -> None:
    _, _, state = trained()
    stock.save(state, storage_writer=dcpcpp.FileSystemWriter(tmp_path / "c"))
    again = blank(state)
    stock.load(again, storage_reader=dcpcpp.FileSystemReader(tmp_path / "c"))
    require_equal(again, state)


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_patch_torch_serves_a_trainer(tmp_path: Path) -> None:
    _, _, state = trained()
    again = blank(state)
    with dcpcpp.patch_torch():
        stock.save(state, checkpoint_id=tmp_path / "now")
        future = stock.async_save(state, checkpoint_id=tmp_path / "later")
        future.result()
        for name in ("now", "later"):
            assert list((tmp_path / name).glob(".dcpcpp-*")), "dcpcpp wrote it"
            again = blank(state)
            stock.load(again, checkpoint_id=tmp_path / name)
            require_equal(again, state)


def test_an_async_save_with_a_fence(tmp_path: Path) -> None:
    stager = dcpcpp.DefaultStager(dcpcpp.StagingOptions(use_async_staging=True))
    state = {"w": torch.ones(1000)}
    handle = dcpcpp.async_save(state, checkpoint_id=tmp_path / "c", async_stager=stager)
    assert isinstance(handle, dcpcpp.AsyncSaveResponse)
    with dcpcpp.fence():
        state["w"].zero_()
    handle.upload_completion.result()
    require_equal(dcpcpp.load_full(tmp_path / "c")["w"], torch.ones(1000))
