"""Real models and optimizers under DDP, FSDP2, HSDP, tensor parallelism and both."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import dcpcpp
from support.ranks import run_on_ranks
from support.states import fingerprints, ramp, require_equal, require_same_meaning

LIBRARIES = {"ours": dcpcpp, "stock": stock}

# Name -> ranks. Hidden sizes are odd, so that shards are uneven, and strided where FSDP
# cuts what tensor parallelism cut before.
STRATEGIES = {"single": 1, "ddp": 2, "fsdp": 4, "hsdp": 4, "tp": 2, "fsdp_tp": 4}


def build(strategy: str, seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model that has taken one step, so that its optimizer has a state."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    torch.manual_seed(seed)
    model: torch.nn.Module = torch.nn.Sequential(
        torch.nn.Linear(6, 10), torch.nn.GELU(), torch.nn.Linear(10, 5)
    )
    world = dist.get_world_size()
    plans = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    if strategy == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model)
    elif strategy == "fsdp":
        fully_shard(model)
    elif strategy == "hsdp":
        fully_shard(model, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "shard")))
    elif strategy == "tp":
        parallelize_module(model, init_device_mesh("cpu", (world,)), plans)
    elif strategy == "fsdp_tp":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        parallelize_module(model, mesh["tp"], plans)
        fully_shard(model, mesh=mesh["dp"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    model(ramp(4, 6)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def state_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optim": optimizer_state}


def save_model(strategy: str, folder: str) -> tuple[dict[str, str], Any, Any]:
    """Save with both libraries; what was in the state, and both metadata."""
    state = state_of(*build(strategy, seed=1))
    if strategy == "fsdp_tp":
        strided = state["model"]["0.weight"].placements[0]
        assert type(strided).__name__ == "_StridedShard", strided
    metadata = [
        library.save(state, checkpoint_id=f"{folder}/{strategy}/{name}")
        for name, library in LIBRARIES.items()
    ]
    return fingerprints(state), *metadata


def load_models(strategy: str, folder: str, saved: dict[str, dict[str, str]]) -> None:
    """Load every checkpoint of `saved` into this strategy's model and compare."""
    model, optimizer = build(strategy, seed=2)
    for source, expected in saved.items():
        for saver, loader in (("ours", "ours"), ("stock", "ours"), ("ours", "stock")):
            state = state_of(model, optimizer)
            zero(state)
            LIBRARIES[loader].load(state, checkpoint_id=f"{folder}/{source}/{saver}")
            where = f"{source} saved by {saver}, loaded as {strategy} by {loader}"
            assert fingerprints(state) == expected, where
            set_state_dict(
                model,
                optimizer,
                model_state_dict=state["model"],
                optim_state_dict=state["optim"],
            )
            assert fingerprints(state_of(model, optimizer)) == expected, where


def zero(state: dict[str, Any]) -> None:
    for value in state.values():
        if isinstance(value, dict):
            zero(value)
        elif isinstance(value, torch.Tensor):
            with torch.no_grad():
                value.zero_()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[pathlib.Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("models")
    return folder, {
        strategy: run_on_ranks(ranks, save_model, strategy, str(folder))
        for strategy, ranks in STRATEGIES.items()
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_loads_what_every_other_saved(saved, strategy: str) -> None:
    folder, results = saved
    expected = {source: ranks[0][0] for source, ranks in results.items()}
    run_on_ranks(STRATEGIES[strategy], load_models, strategy, str(folder), expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_metadata_is_what_stock_makes_of_the_model(saved, strategy: str) -> None:
    _, results = saved
    for _, ours, theirs in results[strategy]:
        require_same_meaning(ours, theirs)


def on_a_part_of_the_ranks(path: str) -> None:
    """Ranks 1 and 2 share a tensor, rank 3 has one alone, all have a plain one."""
    rank = dist.get_rank()
    line = init_device_mesh("cpu", (4,))
    pair = dist.device_mesh.DeviceMesh("cpu", [1, 2])
    whole = ramp(5, 3)

    def state(source: torch.Tensor) -> dict[str, Any]:
        values = {
            "pair": distribute_tensor(source, pair, [Shard(0)], src_data_rank=None),
            "all": distribute_tensor(source, line, [Shard(1)], src_data_rank=None),
            "plain": source.clone(),
        }
        if rank == 3:
            values["alone"] = source + 1
        return values

    dcpcpp.save(state(whole), checkpoint_id=path)
    loaded = state(torch.zeros_like(whole))
    dcpcpp.load(loaded, checkpoint_id=path)
    assert torch.equal(loaded["all"].full_tensor(), whole)
    assert torch.equal(loaded["plain"], whole)
    if rank in (1, 2):
        expected = distribute_tensor(whole, pair, [Shard(0)], src_data_rank=None)
        assert torch.equal(loaded["pair"].to_local(), expected.to_local())
    if rank == 3:
        assert torch.equal(loaded["alone"], whole + 1)


def test_tensors_may_live_on_some_of_the_ranks(tmp_path: pathlib.Path) -> None:
    run_on_ranks(4, on_a_part_of_the_ranks, str(tmp_path))
    state = dcpcpp.load_full(tmp_path)
    assert torch.equal(state["pair"], ramp(5, 3))
    assert torch.equal(state["alone"], ramp(5, 3) + 1)


def some_ranks_save(path: str) -> str | None:
    """Ranks 1 and 3 save together in a group of their own."""
    # Making groups concerns all ranks, also those that are not in them.
    group = dist.new_group([1, 3])
    mesh = dist.device_mesh.DeviceMesh("cpu", [1, 3])
    if dist.get_rank() not in (1, 3):
        return None
    whole = ramp(5, 3)
    state = {"w": distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None)}
    metadata = dcpcpp.save(state, checkpoint_id=path, process_group=group)
    target = {"w": distribute_tensor(whole * 0, mesh, [Replicate()], src_data_rank=None)}
    dcpcpp.load(target, checkpoint_id=path, process_group=group)
    assert torch.equal(target["w"].to_local(), whole)
    return str(len(metadata.state_dict_metadata["w"].chunks))


def test_a_group_of_ranks_may_save_alone(tmp_path: pathlib.Path) -> None:
    assert run_on_ranks(4, some_ranks_save, str(tmp_path)) == [None, "2", None, "2"]
    assert sorted(p.name for p in tmp_path.glob("*.distcp")) == ["__0_0.distcp", "__1_0.distcp"]
    assert torch.equal(dcpcpp.load_full(tmp_path)["w"], ramp(5, 3))


def save_with_coordinator_1(path: str) -> None:
    state = {"same": ramp(5, 3), f"own-{dist.get_rank()}": dist.get_rank()}
    with pytest.warns(FutureWarning):
        dcpcpp.save_state_dict(state, dcpcpp.FileSystemWriter(path), coordinator_rank=1)
    loaded = {"same": ramp(5, 3) * 0, f"own-{dist.get_rank()}": None}
    with pytest.warns(FutureWarning):
        dcpcpp.load_state_dict(loaded, dcpcpp.FileSystemReader(path), coordinator_rank=1)
    require_equal(loaded, state)


def test_another_rank_may_coordinate(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_with_coordinator_1, str(tmp_path))
    assert torch.equal(dcpcpp.load_full(tmp_path)["same"], ramp(5, 3))


def partial_tensor(path: str) -> str:
    from torch.distributed.tensor import Partial

    mesh = init_device_mesh("cpu", (2,))
    value = DTensor.from_local(torch.ones(2, 2), mesh, [Partial()])
    try:
        dcpcpp.save({"grad": value}, checkpoint_id=path)
    except dcpcpp.CheckpointException as error:
        return str(error)
    return "saved"


def test_partial_sums_are_refused(tmp_path: pathlib.Path) -> None:
    for message in run_on_ranks(2, partial_tensor, str(tmp_path)):
        assert "partial placements" in message


def into_meta_tensors(path: str) -> None:
    """A model that was built without memory gets it from the load, as in torch."""
    mesh = init_device_mesh("cpu", (2,))
    whole = ramp(5, 3)
    options = [4, "text"]

    class Unknown:
        pass

    kept = Unknown()
    meta = torch.empty(5, 3, device="meta")
    state = {
        "sharded": distribute_tensor(meta, mesh, [Shard(0)], src_data_rank=None),
        "model": {"plain": meta, "options": options, "kept": kept},
    }
    model = state["model"]
    planner = stock.DefaultLoadPlanner(allow_partial_load=True)
    dcpcpp.load(state, checkpoint_id=path, planner=planner)
    assert torch.equal(state["sharded"].full_tensor(), whole)
    assert state["model"] is model
    assert torch.equal(model["plain"], whole)
    assert model["options"] == [1, "x"]
    assert model["kept"] is kept, "what the checkpoint lacks stays as it is"


def test_meta_tensors_get_memory(tmp_path: pathlib.Path) -> None:
    whole = ramp(5, 3)
    state = {"sharded": whole, "model": {"plain": whole, "options": [1, "x"]}}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    run_on_ranks(2, into_meta_tensors, str(tmp_path))
