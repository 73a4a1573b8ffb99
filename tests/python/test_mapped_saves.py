"""A trainer's model saved as Hugging Face's and loaded from it, by a mapping, on its shards."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file

import dcpcpp
from support.llama import CONFIG, FLAVOR, hugging_face, native, save_as_hugging_face, shard
from support.ranks import RankError, run_on_ranks
from support.states import bits, blank, ramp, require_equal


def whole_file(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("world_size", "layout"), [(1, "same"), (2, "fsdp"), (3, "fsdp"), (2, "tp"), (2, "same")]
)
def test_a_trainers_shards_become_hugging_faces_file(
    world_size: int, layout: str, tmp_path: pathlib.Path
) -> None:
    run_on_ranks(world_size, save_as_hugging_face, tmp_path, layout, FLAVOR)
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(hugging_face())


def load(folder: pathlib.Path, layout: str, options: dict[str, Any]) -> None:
    state = shard({key: blank(value) for key, value in native().items()}, layout)
    reader = dcpcpp.HuggingFaceStorageReader(folder, **options)
    dcpcpp.load({"model": state}, storage_reader=reader, rename={"model.": ""})
    for key, expected in shard(native(), layout).items():
        assert bits(state[key].to_local()) == bits(expected.to_local()), key


@pytest.mark.parametrize(
    ("world_size", "layout"), [(1, "same"), (2, "fsdp"), (3, "fsdp"), (2, "tp")]
)
def test_shards_are_loaded_from_hugging_faces_file(
    world_size: int, layout: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(whole_file(hugging_face()))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    run_on_ranks(world_size, load, tmp_path, layout, {"model": "llama3"})


def test_what_was_saved_by_a_mapping_comes_back(tmp_path: pathlib.Path) -> None:
    options = {**FLAVOR, "max_shard_size": "40KB"}
    run_on_ranks(2, save_as_hugging_face, tmp_path, "fsdp", options)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    run_on_ranks(3, load, tmp_path, "fsdp", FLAVOR)


def test_a_conversion_makes_the_same_file(tmp_path: pathlib.Path) -> None:
    options = {**FLAVOR, "export_dtype": torch.bfloat16}
    run_on_ranks(2, save_as_hugging_face, tmp_path / "direct", "tp", options)
    dcpcpp.save(native(), checkpoint_id=tmp_path / "native")
    dcpcpp.convert(tmp_path / "native", tmp_path / "converted", dtype="bfloat16", **FLAVOR)
    files = [tmp_path / name / "model.safetensors" for name in ("direct", "converted")]
    assert files[0].read_bytes() == files[1].read_bytes()


def save_asynchronously(folder: pathlib.Path) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(folder, **FLAVOR)
    state = shard(native(), "fsdp")
    handle = dcpcpp.async_save(state, storage_writer=writer)
    handle.result(60)


def test_saves_by_a_mapping_are_asynchronous_too(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_asynchronously, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == whole_file(hugging_face())


def test_rules_of_ones_own(tmp_path: pathlib.Path) -> None:
    rules = {
        "rules": [
            {"native": ["q", "k"], "hf": "qk", "concat": 0, "sizes": [6, 2]},
            {"native": "experts", "hf": "experts.{expert}", "stack": "expert"},
            {"native": "step", "drop": True},
        ]
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    state = {"q": ramp(6, 3), "k": ramp(2, 3, start=50), "experts": ramp(3, 4, 2), "step": 7}
    options: dict[str, Any] = {"mapping": tmp_path / "rules.json"}
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path / "hf", **options)
    dcpcpp.save(state, storage_writer=writer)
    saved = load_file(tmp_path / "hf" / "model.safetensors")
    expected = {f"experts.{i}": state["experts"][i] for i in range(3)}  # type: ignore[index]
    expected["qk"] = torch.cat([state["q"], state["k"]])  # type: ignore[list-item]
    require_equal(dict(sorted(saved.items())), expected)
    loaded = blank({key: state[key] for key in ("q", "k", "experts")})
    reader = dcpcpp.HuggingFaceStorageReader(tmp_path / "hf", **options)
    dcpcpp.load(loaded, storage_reader=reader)
    require_equal(loaded, {key: state[key] for key in ("q", "k", "experts")})


def save_more(folder: pathlib.Path) -> None:
    state = {**shard(native(), "fsdp"), "extra": torch.ones(2)}
    dcpcpp.save(state, storage_writer=dcpcpp.HuggingFaceStorageWriter(folder, **FLAVOR))


def test_a_key_without_a_rule_is_an_error_of_all_ranks(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RankError, match="extra") as failed:
        run_on_ranks(2, save_more, tmp_path)
    assert sorted(failed.value.by_rank) == [0, 1]
    assert list(tmp_path.iterdir()) == []


def test_options_of_a_mapping_need_one(tmp_path: pathlib.Path) -> None:
    for kind in (dcpcpp.HuggingFaceStorageWriter, dcpcpp.HuggingFaceStorageReader):
        with pytest.raises(ValueError, match="are for a model or a mapping"):
            kind(tmp_path, model_flavor="8B")
        with pytest.raises(FileNotFoundError, match="hf_assets_path"):
            kind(tmp_path, model="llama3", hf_assets_path=tmp_path / "none")
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path, model="llama9")
    with pytest.raises(ValueError, match="llama9"):
        dcpcpp.save(native(), storage_writer=writer)


def test_another_process_is_not_given_a_mapping(tmp_path: pathlib.Path) -> None:
    handle = dcpcpp.async_save(
        native(),
        storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path, **FLAVOR),
        async_checkpointer_type=dcpcpp.AsyncCheckpointerType.PROCESS,
    )
    with pytest.raises(dcpcpp.CheckpointException, match="save in threads"):
        handle.result(60)
