"""Saves of safetensors: one pass, whatever the sharding, the files that safetensors writes."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageWriter as StockWriter,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dcpcpp
from support.ranks import RankError, run_on_ranks
from support.states import blank, ramp, require_equal

INDEX = "model.safetensors.index.json"


def model(scale: int = 1) -> dict[str, torch.Tensor]:
    """The whole tensors; of all kinds, small ones and some of several MiB."""
    return {
        "embed.weight": ramp(1031, 300 * scale),
        "layers.0.q.weight": ramp(640, 512, dtype=torch.bfloat16, start=5),
        "layers.0.o.weight": ramp(512, 1030, start=7),
        "layers.0.norm.weight": ramp(33, start=9),
        "experts.weight": ramp(4, 60, 130, dtype=torch.float16, start=11),
        "scale": torch.tensor(3.5),
        "none": torch.zeros(0, 4),
        "ids": torch.arange(10, dtype=torch.int64),
    }


def whole_file(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


def visible(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def shard(whole: dict[str, torch.Tensor], layout: str) -> dict[str, Any]:
    world = dist.get_world_size()
    if layout in ("fsdp", "columns"):
        mesh = init_device_mesh("cpu", (world,))
        dim = 0 if layout == "fsdp" else -1
        return {
            key: distribute_tensor(
                value, mesh, [Shard(dim % value.dim()) if value.dim() else Replicate()]
            )
            for key, value in whole.items()
        }
    if layout == "mixed":  # tensor parallelism: by columns, by rows, and not at all
        mesh = init_device_mesh("cpu", (world,))
        placements = {
            "layers.0.q.weight": Shard(0),
            "layers.0.o.weight": Shard(1),
            "experts.weight": Shard(2),
            "embed.weight": Shard(1),
        }
        return {
            key: distribute_tensor(value, mesh, [placements.get(key, Replicate())])
            for key, value in whole.items()
        }
    names = {"hsdp": ("replicate", "shard"), "2d": ("dp", "tp")}[layout]
    mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=names)

    def of(value: torch.Tensor) -> list[Any]:
        if value.dim() == 0:
            return [Replicate(), Replicate()]
        if layout == "hsdp":
            return [Replicate(), Shard(0)]
        return [Shard(0), Shard(value.dim() - 1)]

    return {key: distribute_tensor(value, mesh, of(value)) for key, value in whole.items()}


def save_layout(folder: pathlib.Path, layout: str, options: dict[str, Any] | None = None) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(folder, **(options or {}))
    dcpcpp.save(shard(model(), layout), storage_writer=writer)


@pytest.mark.parametrize(
    ("layout", "world_size"),
    [("fsdp", 2), ("fsdp", 3), ("columns", 2), ("mixed", 2), ("hsdp", 4), ("2d", 4)],
)
def test_any_layout_makes_the_file_of_the_gathered_model(
    layout: str, world_size: int, tmp_path: pathlib.Path
) -> None:
    run_on_ranks(world_size, save_layout, tmp_path / "m", layout)
    assert visible(tmp_path / "m") == ["model.safetensors"]
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == whole_file(model())
    require_equal(
        dict(sorted(dcpcpp.load_full(tmp_path / "m").items())), dict(sorted(model().items()))
    )


def test_one_process_writes_what_safetensors_writes(tmp_path: pathlib.Path) -> None:
    dcpcpp.save(model(), storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(model())
    state = blank(model())
    dcpcpp.load(state, checkpoint_id=tmp_path)
    require_equal(state, model())


def test_a_large_model_has_several_files_and_an_index(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_layout, tmp_path, "fsdp", {"max_shard_size": "2MB"})
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in model().values())
    assert index["metadata"]["total_parameters"] == sum(t.numel() for t in model().values())
    assert set(index["weight_map"]) == set(model())
    for name in sorted(set(index["weight_map"].values())):
        held = {key: model()[key] for key, of in index["weight_map"].items() if of == name}
        assert (tmp_path / name).read_bytes() == whole_file(held)


def test_a_mapping_says_which_file(tmp_path: pathlib.Path) -> None:
    mapping = {key: 1 + position % 3 for position, key in enumerate(model())}
    run_on_ranks(2, save_layout, tmp_path, "mixed", {"fqn_to_index_mapping": mapping})
    weight_map = json.loads((tmp_path / INDEX).read_text())["weight_map"]
    assert weight_map == {
        key: f"model-{number:05}-of-00003.safetensors" for key, number in mapping.items()
    }
    with pytest.raises(dcpcpp.CheckpointException, match="no file for scale"):
        dcpcpp.save(
            model(),
            storage_writer=dcpcpp.HuggingFaceStorageWriter(
                tmp_path / "other", {key: 1 for key in model() if key != "scale"}
            ),
        )


def test_floats_are_exported_in_another_dtype(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_layout, tmp_path, "mixed", {"export_dtype": torch.bfloat16})
    expected = {
        key: value.bfloat16() if value.is_floating_point() else value
        for key, value in model().items()
    }
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(expected)


def test_one_writer_per_file_makes_the_same_files(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_layout, tmp_path, "columns", {"one_writer_per_file": True})
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(model())


def save_tied(folder: pathlib.Path) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    embed = distribute_tensor(ramp(3, 5), mesh, [Shard(0)])  # of four ranks one has nothing
    state = {"embed": embed, "norm": ramp(5), "head": embed}
    dcpcpp.save(state, storage_writer=dcpcpp.HuggingFaceStorageWriter(folder))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_tied_weights_are_stored_once(world_size: int, tmp_path: pathlib.Path) -> None:
    run_on_ranks(world_size, save_tied, tmp_path)
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {"embed", "norm"}
        assert file.metadata() == {"format": "pt", "head": "embed"}
    state = {"embed": torch.zeros(3, 5), "norm": torch.zeros(5), "head": torch.zeros(3, 5)}
    dcpcpp.load(state, checkpoint_id=tmp_path)
    require_equal(state, {"embed": ramp(3, 5), "norm": ramp(5), "head": ramp(3, 5)})


def test_only_tensors_are_saved(tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="step is no tensor"):
        dcpcpp.save({"w": torch.ones(2), "step": 3}, storage_writer=writer)
    with pytest.raises(dcpcpp.CheckpointException, match="no type for the complex128 tensor z"):
        dcpcpp.save({"z": torch.ones(2, dtype=torch.complex128)}, storage_writer=writer)
    assert visible(tmp_path) == []


def save_with_stocks_writer(folder: pathlib.Path) -> None:
    writer = StockWriter(str(folder), save_distributed=True, enable_consolidation=True)
    dcpcpp.save(shard(model(), "fsdp"), storage_writer=writer)


def test_torchs_own_writer_is_taken_for_ours(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_with_stocks_writer, tmp_path)
    assert visible(tmp_path) == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(model())


def overwrite(folder: pathlib.Path) -> None:
    other = {key: value + 1 for key, value in model().items() if value.is_floating_point()}
    dcpcpp.save(
        shard(other, "fsdp"),
        storage_writer=dcpcpp.HuggingFaceStorageWriter(folder, max_shard_size="1MB"),
    )


def test_an_overwrite_keeps_the_users_files(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "m"
    run_on_ranks(2, save_layout, folder, "fsdp")
    (folder / "config.json").write_text('{"model_type": "mine"}')
    with pytest.warns(UserWarning, match="existing checkpoint"):
        dcpcpp.save({"w": torch.ones(3)}, storage_writer=dcpcpp.HuggingFaceStorageWriter(folder))
    assert (folder / "config.json").read_text() == '{"model_type": "mine"}'
    require_equal(dcpcpp.load_full(folder), {"w": torch.ones(3)})
    run_on_ranks(2, overwrite, folder)
    assert (folder / "config.json").read_text() == '{"model_type": "mine"}'
    loaded = dcpcpp.load_full(folder)
    assert torch.equal(loaded["embed.weight"], model()["embed.weight"] + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_no_overwrite_is_an_error(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": torch.ones(3)}, storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path))
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path, overwrite=False)
    with pytest.raises(dcpcpp.CheckpointException):
        dcpcpp.save({"w": torch.zeros(3)}, storage_writer=writer)
    require_equal(dcpcpp.load_full(tmp_path), {"w": torch.ones(3)})


def save_and_fail(folder: pathlib.Path) -> None:
    state: dict[str, Any] = shard(model(), "mixed")
    if dist.get_rank() == 1:
        state["step"] = 3
    dcpcpp.save(state, storage_writer=dcpcpp.HuggingFaceStorageWriter(folder))


def test_a_rank_that_fails_leaves_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RankError, match="step is no tensor"):
        run_on_ranks(2, save_and_fail, tmp_path)
    assert visible(tmp_path) == []


def save_asynchronously(folder: pathlib.Path, layout: str, kind: Any) -> None:
    state = shard(model(), layout)
    saved = dcpcpp.async_save(
        state,
        storage_writer=dcpcpp.HuggingFaceStorageWriter(folder),
        async_checkpointer_type=kind,
    )
    saved.result(60)


@pytest.mark.parametrize("kind", list(dcpcpp.AsyncCheckpointerType))
@pytest.mark.parametrize(("layout", "world_size"), [("fsdp", 1), ("mixed", 2)])
def test_saves_are_asynchronous_too(
    layout: str, world_size: int, kind: Any, tmp_path: pathlib.Path
) -> None:
    run_on_ranks(world_size, save_asynchronously, tmp_path, layout, kind)
    assert visible(tmp_path) == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(model())
    run_on_ranks(world_size, save_asynchronously, tmp_path, layout, kind)
    require_equal(dict(sorted(dcpcpp.load_full(tmp_path).items())), dict(sorted(model().items())))


def test_what_is_streamed_and_what_is_staged_keep_their_names(tmp_path: pathlib.Path) -> None:
    """Of tensors of one shape some fit the memory for copies, the rest is read while written."""
    state = {f"layers.{i}.weight": ramp(256, 256, start=i) for i in range(8)}
    options = dcpcpp.StagingOptions(use_async_staging=True)
    stager = dcpcpp.DefaultStager(options, max_staging_bytes=3 * 256 * 256 * 4)
    try:
        handle = dcpcpp.async_save(
            state,
            storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path),
            async_stager=stager,
        )
        handle.upload_completion.result(60)
    finally:
        stager.close()
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(state)
