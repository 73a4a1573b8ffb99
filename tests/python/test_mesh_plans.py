"""DTensors of real models say how they lie over the ranks, and saves are planned by that."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import dcpcpp
from dcpcpp._transport import ProcessGroupTransport
from support.ranks import run_on_ranks
from support.states import ramp, require_equal

STATES = {"fsdp": 4, "hsdp": 4, "tp": 2, "fsdp_tp": 4, "stages": 4}
ONE_STATE = ["gather", "scatter"]
# More than a digest and the storage's notes take, less than a plan of the states here.
FEW_BYTES = 250
SEVERAL_STATES = ["gather", "scatter", "gather", "broadcast", "gather", "scatter"]


def state_of(kind: str, start: int = 0) -> dict[str, Any]:
    """Tensors as a model of `kind` has them; `start` makes others of the same shape."""
    plain = {str(number): ramp(3, start=start + number) for number in range(100)}
    return tensors_of(kind, start) | {"plain": plain, "step": 7}


def tensors_of(kind: str, start: int) -> dict[str, Any]:
    whole = ramp(16, 6, start=start)
    if kind == "stages":  # each pair of ranks has keys and a mesh of its own
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("pp", "dp"))
        stage = mesh.get_local_rank("pp")
        shard = distribute_tensor(whole + stage, mesh["dp"], [Shard(0)])
        return {f"layers.{stage}": shard}
    world = dist.get_world_size()
    if kind in ("fsdp", "tp"):
        mesh = init_device_mesh("cpu", (world,))
        dim = 0 if kind == "fsdp" else 1
        sharded = distribute_tensor(whole, mesh, [Shard(dim)])
        uneven = distribute_tensor(ramp(5, start=start), mesh, [Shard(0)])
        return {"w": sharded, "uneven": uneven}
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
    if kind == "hsdp":
        return {
            "w": distribute_tensor(whole, mesh, [Replicate(), Shard(0)]),
            "same": distribute_tensor(whole, mesh, [Replicate(), Replicate()]),
        }
    return {"model": fsdp_over_tp(mesh, start)}


def fsdp_over_tp(mesh: DeviceMesh, start: int) -> dict[str, Any]:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.LayerNorm(16))
    with torch.no_grad():
        model[0].weight.copy_(ramp(16, 6, start=start))
        model[0].bias.copy_(ramp(16, start=start))
        model[1].weight.copy_(ramp(16, start=start))
    parallelize_module(model, mesh["b"], {"0": ColwiseParallel()})
    fully_shard(model, mesh=mesh["a"])
    state: dict[str, Any] = model.state_dict()
    strided = state["0.weight"].placements[0]
    assert type(strided).__name__ == "_StridedShard", strided
    return state


def recorded(patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What this rank asks of the others until bytes move: names and bytes, from now on."""
    calls: list[tuple[str, int]] = []
    is_planning = [True]

    def watch(name: str) -> None:
        plain = getattr(ProcessGroupTransport, name)

        def call(self: Any, message: Any) -> Any:
            if name == "await_all":
                is_planning[0] = False
            elif is_planning[0]:
                size = len(message) if isinstance(message, bytes) else sum(map(len, message))
                calls.append((name, size))
            return plain(self, message)

        patch.setattr(ProcessGroupTransport, name, call)

    for name in ("gather", "scatter", "broadcast", "await_all"):
        watch(name)
    return calls


def planning_of(save: Any) -> list[tuple[str, int]]:
    with pytest.MonkeyPatch.context() as patch:
        calls = recorded(patch)
        save()
    return calls


def names_of(calls: list[tuple[str, int]]) -> list[str]:
    return [name for name, _ in calls]


def save_twice(kind: str, folder: pathlib.Path) -> list[list[tuple[str, int]]]:
    """Save with the group's memory of the state before; then load by us and by stock torch."""
    state = state_of(kind)
    plannings = [
        planning_of(lambda: dcpcpp.save(state, checkpoint_id=folder / kind)) for _ in range(2)
    ]
    for library in (dcpcpp, stock):
        loaded = state_of(kind, start=1000)
        library.load(loaded, checkpoint_id=folder / kind)
        require_same(loaded, state)
    return plannings


def require_same(loaded: dict[str, Any], state: dict[str, Any]) -> None:
    def local(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: local(item) for key, item in value.items()}
        return value.to_local() if isinstance(value, DTensor) else value

    require_equal(local(loaded), local(state))


@pytest.mark.parametrize("kind", STATES)
def test_an_unchanged_state_takes_one_exchange_of_digests(
    tmp_path: pathlib.Path, kind: str
) -> None:
    for rank, (first, second) in enumerate(run_on_ranks(STATES[kind], save_twice, kind, tmp_path)):
        expected = SEVERAL_STATES if kind in ("stages", "fsdp_tp") else ONE_STATE
        assert names_of(first) == expected, (rank, first)
        assert names_of(second) == ONE_STATE, (rank, second)
        assert first[0][1] < FEW_BYTES, (rank, first)
        assert second[0][1] < FEW_BYTES, (rank, second)


def save_in_the_background(folder: pathlib.Path) -> list[str]:
    state = state_of("fsdp")

    def save() -> None:
        dcpcpp.async_save(state, checkpoint_id=folder / "c").result()

    save()
    calls = planning_of(save)
    loaded = state_of("fsdp", start=1000)
    dcpcpp.load(loaded, checkpoint_id=folder / "c")
    require_same(loaded, state)
    assert calls[0][1] < FEW_BYTES, calls
    return names_of(calls)


def test_saves_in_the_background_remember_their_plan(tmp_path: pathlib.Path) -> None:
    assert run_on_ranks(4, save_in_the_background, tmp_path) == [ONE_STATE] * 4


def save_in_a_group(folder: pathlib.Path) -> list[list[str]]:
    """Ranks 1 and 3 save: a tensor of their own mesh, then one that lies on all ranks."""
    group = dist.new_group([1, 3])  # of which all ranks must know, as of meshes
    theirs = DeviceMesh("cpu", [1, 3])
    everyone = init_device_mesh("cpu", (4,))
    if dist.get_rank() not in (1, 3):
        return []
    own = distribute_tensor(ramp(7, 2), theirs, [Shard(0)], src_data_rank=None)
    same = distribute_tensor(ramp(4), everyone, [Replicate()], src_data_rank=None)
    calls = []
    plain = {str(number): ramp(3) for number in range(100)}
    for name, state in {"own": {"w": own} | plain, "all": {"w": same} | plain}.items():

        def save(name: str = name, state: dict[str, Any] = state) -> None:
            dcpcpp.save(state, checkpoint_id=folder / name, process_group=group)

        planning = planning_of(save)
        calls.append(names_of(planning))
        assert (planning[0][1] < FEW_BYTES) == (name == "own"), planning
        loaded = {key: torch.zeros_like(value) for key, value in state.items()}
        dcpcpp.load(loaded, checkpoint_id=folder / name, process_group=group)
        require_same(loaded, state)
    return calls


def test_ranks_of_a_mesh_are_those_of_the_group_that_saves(tmp_path: pathlib.Path) -> None:
    results = run_on_ranks(4, save_in_a_group, tmp_path)
    assert results == [[], [ONE_STATE, ONE_STATE], [], [ONE_STATE, ONE_STATE]]


def save_a_wrong_shape(folder: pathlib.Path) -> str:
    mesh = init_device_mesh("cpu", (2,))
    local = torch.zeros(4 if dist.get_rank() == 0 else 3)
    wrong = DTensor.from_local(
        local, mesh, [Shard(0)], run_check=False, shape=torch.Size([8]), stride=(1,)
    )
    with pytest.raises(dcpcpp.CheckpointException) as raised:
        dcpcpp.save({"wrong": wrong}, checkpoint_id=folder / "c")
    assert list(raised.value.failures) == [1]
    cause, _ = raised.value.failures[1]
    assert isinstance(cause, ValueError)
    return str(cause)


def test_a_local_tensor_of_another_shape_names_key_and_shapes(tmp_path: pathlib.Path) -> None:
    for message in run_on_ranks(2, save_a_wrong_shape, tmp_path):
        assert "wrong has the shape (3,), but its placements make it (4,) at (4,)" in message


def save_with_a_garbled_reply(folder: pathlib.Path) -> tuple[float, str, str]:
    """Rank 3 cannot read the first reply; seconds that the save took, and how it ended."""
    state = state_of("stages")
    plain = ProcessGroupTransport.scatter

    def garbled(self: Any, messages: list[bytes]) -> bytes:
        reply = plain(self, messages)
        return reply[:3] + b"\xff" + reply[4:] if dist.get_rank() == 3 else reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessGroupTransport, "scatter", garbled)
        begun = time.monotonic()
        with pytest.raises((dcpcpp.CheckpointCorruptedError, dcpcpp.CheckpointException)) as raised:
            dcpcpp.save(state, checkpoint_id=folder / "c")
        seconds = time.monotonic() - begun
    dist.barrier()
    return seconds, type(raised.value).__name__, str(raised.value)


def test_a_rank_that_cannot_read_a_reply_is_missed_at_once(tmp_path: pathlib.Path) -> None:
    results = run_on_ranks(4, save_with_a_garbled_reply, tmp_path)
    for rank, (seconds, kind, text) in enumerate(results):
        assert seconds < 5, results
        if rank == 3:
            assert kind == "CheckpointCorruptedError", results
        else:
            assert kind == "LostRankException", results
            assert "rank 3" in text, results
            assert "the answer to what a rank saves" in text, results
