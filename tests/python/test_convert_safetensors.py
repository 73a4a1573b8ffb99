"""Conversions into safetensors, and consolidation, beside safetensors' and stock torch's own."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import _consolidate_hf_safetensors as stock_consolidation
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dcpcpp
from dcpcpp import _consolidate_hf_safetensors as consolidation
from support.command_line import command
from support.ranks import RankError, run_on_ranks
from support.states import bits, ramp

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = [
    *(torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16),
    *(torch.int32, torch.int64, torch.bool, torch.complex64, torch.uint16, torch.float8_e4m3fn),
]


def model() -> dict[str, torch.Tensor]:
    return {
        **{str(dtype): ramp(3, 5).to(dtype) for dtype in DTYPES},
        "weight": ramp(301, 40, start=7),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }


def whole_file(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


@pytest.mark.parametrize("save", [dcpcpp.save, stock.save], ids=["dcpcpp", "stock"])
def test_a_checkpoint_becomes_what_safetensors_writes(save: Any, tmp_path: pathlib.Path) -> None:
    save(model(), checkpoint_id=tmp_path / "dcp")
    report = dcpcpp.convert(tmp_path / "dcp", tmp_path / "hf", to="safetensors")
    assert (tmp_path / "hf" / FILE).read_bytes() == whole_file(model())
    assert (report.tensors, report.objects) == (len(model()), 0)
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "half", to="safetensors", dtype="bfloat16")
    expected = {k: v.bfloat16() if v.is_floating_point() else v for k, v in model().items()}
    assert (tmp_path / "half" / FILE).read_bytes() == whole_file(expected)


def test_there_and_back_is_the_same_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hf").mkdir()
    tied = {"format": "pt", "head": "weight"}
    safetensors.torch.save_file(model(), tmp_path / "hf" / FILE, metadata=tied)
    dcpcpp.convert(tmp_path / "hf", tmp_path / "copy", to="safetensors")
    with safetensors.safe_open(tmp_path / "copy" / FILE, "pt") as copy:
        assert copy.metadata() == tied
        assert {k: bits(copy.get_tensor(k)) for k in copy.keys()} == {  # noqa: SIM118  # no dict
            k: bits(v) for k, v in model().items()
        }
    for between in ("dcp", "m.pt"):
        dcpcpp.convert(tmp_path / "hf", tmp_path / between, exclude="head")
        back = tmp_path / f"from {between}"
        dcpcpp.convert(tmp_path / between, back, to="safetensors")
        assert (back / FILE).read_bytes() == whole_file(model())


def test_the_command_takes_the_models_part_of_a_training(tmp_path: pathlib.Path) -> None:
    state: dict[str, Any]
    state = {"model": {"a": ramp(500, 3), "b": ramp(500, 4)}, "optimizer": {"m": ramp(3)}, "n": 1}
    dcpcpp.save(state, checkpoint_id=tmp_path / "dcp")
    line = ["convert", tmp_path / "dcp", tmp_path / "hf", "--to", "safetensors"]
    assert "n is no tensor" in command(*line).output
    assert not (tmp_path / "hf").exists()
    options = ["--include", "model", "--rename", "model.=", "--max-shard-size", "10KB"]
    done = command(*line, *options)
    assert (done.exit_code, done.exception) == (0, None)
    weight_map = json.loads((tmp_path / "hf" / INDEX).read_text())["weight_map"]
    assert weight_map == {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    for key, name in weight_map.items():
        assert (tmp_path / "hf" / name).read_bytes() == whole_file({key: state["model"][key]})
    wrong = command(*line, "--max-shard-size", "large")
    assert "no size of a file" in wrong.output


def test_wrong_selections_are_refused(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(10), "v": ramp(9)}, checkpoint_id=tmp_path / "dcp")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"include": "x"}, "none of the 2 keys"),
        ({"rename": {"*": "same"}}, "would be called same"),
        ({"rename": lambda key: None}, "must make a str"),
        ({"max_shard_size": "5GB"}, "max_shard_size is for"),
    ]
    for options, why in cases:
        with pytest.raises((ValueError, TypeError), match=why):
            dcpcpp.convert(tmp_path / "dcp", tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


# Consolidation.


def shards(whole: dict[str, torch.Tensor]) -> dict[str, Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return {
        key: distribute_tensor(value, mesh, [Shard(0) if value.dim() else Replicate()])
        for key, value in whole.items()
    }


def save_of_each_rank(folder: pathlib.Path, mapping: dict[str, int] | None) -> None:
    writer = stock.HuggingFaceStorageWriter(str(folder), mapping, save_distributed=True)
    stock.save(shards(ranks_model()), storage_writer=writer)


def ranks_model() -> dict[str, torch.Tensor]:
    return {"w": ramp(31, 40), "half": ramp(6, 9).bfloat16(), "scalar": torch.tensor(3.5)}


MAPPING = {"w": 1, "half": 2, "scalar": 2}


def tensors_in(folder: pathlib.Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in folder.glob("*.safetensors"):
        found |= {key: bits(value) for key, value in safetensors.torch.load_file(path).items()}
    return found


def test_files_of_ranks_are_consolidated(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_of_each_rank, tmp_path / "in", MAPPING)
    expected = {key: bits(value) for key, value in ranks_model().items()}
    (tmp_path / "stock").mkdir()
    stock_consolidation.consolidate_safetensors_files(
        str(tmp_path / "in"), str(tmp_path / "stock"), MAPPING
    )
    theirs = tensors_in(tmp_path / "stock")
    assert theirs.pop("scalar") == bytes(4)  # which is not what was saved
    consolidation.consolidate_safetensors_files(tmp_path / "in", tmp_path / "ours", MAPPING)
    ours = tensors_in(tmp_path / "ours")
    assert ours == expected
    assert {key: ours[key] for key in theirs} == theirs
    for folder in ("ours", "stock"):
        weight_map = json.loads((tmp_path / folder / INDEX).read_text())["weight_map"]
        assert weight_map == {
            key: f"model-{number:05}-of-00002.safetensors" for key, number in MAPPING.items()
        }
    consolidation.consolidate_safetensors_files(tmp_path / "in", tmp_path / "one", None)
    assert (tmp_path / "one" / FILE).read_bytes() == whole_file(ranks_model())
    done = command("consolidate", tmp_path / "in", tmp_path / "command")
    assert (done.exit_code, done.exception) == (0, None)
    assert (tmp_path / "command" / FILE).read_bytes() == whole_file(ranks_model())


def consolidate(folder: pathlib.Path, target: pathlib.Path, mapping: dict[str, int]) -> None:
    consolidation.consolidate_safetensors_files_on_every_rank(folder, target, mapping)


def test_every_rank_learns_what_came_of_a_consolidation(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_of_each_rank, tmp_path / "in", None)
    run_on_ranks(2, consolidate, tmp_path / "in", tmp_path / "out", dict.fromkeys(MAPPING, 1))
    assert (tmp_path / "out" / FILE).read_bytes() == whole_file(ranks_model())
    next((tmp_path / "in").glob("shard-00001-*")).unlink()
    with pytest.raises(RankError, match=r"CheckpointException|Corrupted") as failed:
        run_on_ranks(2, consolidate, tmp_path / "in", tmp_path / "gap", dict.fromkeys(MAPPING, 1))
    assert sorted(failed.value.by_rank) == [0, 1]
    assert not (tmp_path / "gap").exists()


def test_torchs_consolidation_is_ours_when_patched() -> None:
    name = "consolidate_safetensors_files"
    theirs = getattr(stock_consolidation, name)
    with dcpcpp.patch_torch():
        assert getattr(stock_consolidation, name) is getattr(consolidation, name)
        assert getattr(stock.hf_storage, name) is getattr(consolidation, name)
    assert getattr(stock_consolidation, name) is theirs
    assert consolidation._gen_file_name is stock_consolidation._gen_file_name
