"""include=, exclude=, rename= and export_dtype=."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from dcpcpp import _state_dict
from support.ranks import run_on_ranks
from support.states import blank, ramp, require_equal


def state() -> dict[str, Any]:
    return {
        "model": {
            "layers": {"0": {"weight": ramp(2, 3)}, "10": {"weight": ramp(2, 3, start=6)}},
            "head": ramp(4),
        },
        "optim": {"state": {"head": {"exp_avg": ramp(4, start=1)}}, "lr": 0.1},
        "step": 7,
    }


@pytest.mark.parametrize(
    ("include", "exclude", "keys"),
    [
        ("model", None, ["model.layers.0.weight", "model.layers.10.weight", "model.head"]),
        (["model.layers.1?", "step"], None, ["model.layers.10.weight", "step"]),
        ("*.exp_avg", None, ["optim.state.head.exp_avg"]),
        (None, "model.layers", ["model.head", "optim.state.head.exp_avg", "optim.lr", "step"]),
        ("model", ["*.weight"], ["model.head"]),
    ],
)
def test_only_selected_keys_are_saved(include, exclude, keys, tmp_path: pathlib.Path) -> None:
    dcpcpp.save(state(), checkpoint_id=tmp_path, include=include, exclude=exclude)
    assert dcpcpp.open(tmp_path).keys() == keys


def test_only_selected_keys_are_loaded(tmp_path: pathlib.Path) -> None:
    dcpcpp.save(state(), checkpoint_id=tmp_path)
    loaded = blank(state())
    dcpcpp.load(loaded, checkpoint_id=tmp_path, include="model", exclude="model.head")
    expected = blank(state())
    expected["model"]["layers"] = state()["model"]["layers"]
    require_equal(loaded, expected)


def test_an_include_that_matches_nothing_is_warned_about(tmp_path: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match=r"none of the 6 keys .*'model.layers.0.weight'.* saved"):
        dcpcpp.save(state(), checkpoint_id=tmp_path, include="mod")
    assert dcpcpp.open(tmp_path).keys() == []
    with pytest.warns(UserWarning, match=r"include matches none of the 6 keys .* loaded"):
        dcpcpp.load(state(), checkpoint_id=tmp_path, include=["mod", "stage"])


def test_selected_keys_need_not_be_the_only_ones_that_are_there(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"model": ramp(3)}, checkpoint_id=tmp_path)
    loaded = {"model": torch.zeros(3), "new_head": torch.ones(2)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path, include="model")
    require_equal(loaded, {"model": ramp(3), "new_head": torch.ones(2)})


def test_renamed_keys_are_saved_under_their_new_names_and_paths(tmp_path: pathlib.Path) -> None:
    rename = {"model.layers.*.weight": "model.blocks.*.kernel", "step": "progress.step"}
    dcpcpp.save(state(), checkpoint_id=tmp_path, rename=rename)
    assert set(dcpcpp.open(tmp_path)) == {
        "model.blocks.0.kernel",
        "model.blocks.10.kernel",
        "model.head",
        "optim.state.head.exp_avg",
        "optim.lr",
        "progress.step",
    }
    by_stock = {
        "model": {"blocks": {"10": {"kernel": torch.zeros(2, 3)}}},
        "progress": {"step": None},
    }
    stock.load(by_stock, checkpoint_id=tmp_path)
    require_equal(by_stock["model"]["blocks"]["10"]["kernel"], ramp(2, 3, start=6))
    assert by_stock["progress"]["step"] == 7


def test_renaming_back_on_loading_is_the_identity(tmp_path: pathlib.Path) -> None:
    rename = {"model": "net", "model.layers.*": "net.blocks.*", "optim.state": "opt"}
    dcpcpp.save(state(), checkpoint_id=tmp_path, rename=rename)
    assert "net.blocks.10.weight" in dcpcpp.open(tmp_path)
    loaded = blank(state())
    dcpcpp.load(loaded, checkpoint_id=tmp_path, rename=rename)
    require_equal(loaded, state())


def test_a_function_renames_too(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": ramp(2)}, checkpoint_id=tmp_path, rename=str.upper)
    assert dcpcpp.open(tmp_path).keys() == ["A"]


def test_names_that_fall_together_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(dcpcpp.CheckpointException, match="same"):
        dcpcpp.save({"a": ramp(2), "b": ramp(2)}, checkpoint_id=tmp_path, rename=lambda key: "same")


def test_a_foreign_planner_takes_no_selection(tmp_path: pathlib.Path) -> None:
    class Planner(stock.DefaultSavePlanner):
        pass

    with pytest.raises(ValueError, match=r"include.*not Planner and FileSystemWriter"):
        dcpcpp.save({"a": 1}, checkpoint_id=tmp_path, planner=Planner(), include="a")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_exported_floats_are_rounded_as_torch_rounds(
    dtype: torch.dtype, compression: str | None, tmp_path: pathlib.Path
) -> None:
    generator = torch.Generator().manual_seed(3)
    source = {
        "float32": torch.randn(50, 7, generator=generator),
        "transposed": torch.randn(5, 6, generator=generator).t(),
        "float64": torch.randn(9, generator=generator, dtype=torch.float64),
        "bfloat16": torch.randn(9, generator=generator).bfloat16(),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45, 3e38]),
        "int64": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "complex": torch.randn(3, generator=generator, dtype=torch.complex64),
        "step": 7,
    }
    before = {key: value.clone() for key, value in source.items() if key != "step"}
    metadata = dcpcpp.save(
        source, checkpoint_id=tmp_path, export_dtype=dtype, compression=compression
    )
    for key, value in before.items():
        require_equal(source[key], value, f"{key} in memory")
    expected = {
        key: value.to(dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for key, value in source.items()
    }
    for key in before:
        stored = metadata.state_dict_metadata[key].properties.dtype
        assert stored == expected[key].dtype, key
    loaded = blank(expected)
    stock.load(loaded, checkpoint_id=tmp_path)
    nans = expected["special"].isnan()
    assert torch.equal(loaded["special"].isnan(), nans)
    for values in (loaded, expected):
        values["special"] = values["special"][~nans]
    require_equal(loaded, expected)


def test_an_integer_is_no_export_dtype(tmp_path: pathlib.Path) -> None:
    pattern = r"export_dtype must be a floating-point dtype.*not int32"
    with pytest.raises(dcpcpp.CheckpointException, match=pattern):
        dcpcpp.save({"w": ramp(2)}, checkpoint_id=tmp_path, export_dtype=torch.int32)
    assert not (tmp_path / ".metadata").exists()


def sharded(whole: torch.Tensor) -> torch.Tensor:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    return distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None)


def export_renamed_parts(path: str) -> None:
    """Save a part under other names and in half the size; load some of it back."""
    rename = {"model.layers.*": "net.*"}
    state = {
        "model": {"layers": {"0": sharded(ramp(5, 3)), "1": sharded(ramp(5, 3, start=15))}},
        "optim": sharded(ramp(4)),
        "step": 7,
    }
    metadata = dcpcpp.save(
        state, checkpoint_id=path, exclude="optim", rename=rename, export_dtype=torch.bfloat16
    )
    assert set(metadata.state_dict_metadata) == {"net.0", "net.1", "step"}
    assert state["model"]["layers"]["0"].dtype == torch.float32, "memory is untouched"
    loaded = {
        "model": {
            "layers": {name: sharded(torch.zeros(5, 3, dtype=torch.bfloat16)) for name in "01"}
        },
        "optim": sharded(torch.ones(4)),
        "step": 0,
    }
    dcpcpp.load(loaded, checkpoint_id=path, include=["model.layers.1", "step"], rename=rename)
    layers = loaded["model"]["layers"]
    assert torch.equal(layers["0"].full_tensor(), torch.zeros(5, 3).bfloat16()), "not included"
    assert torch.equal(layers["1"].full_tensor(), ramp(5, 3, start=15).bfloat16())
    assert torch.equal(loaded["optim"].full_tensor(), torch.ones(4))
    assert loaded["step"] == 7


def test_shards_are_selected_renamed_and_exported(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, export_renamed_parts, str(tmp_path))
    by_stock = {"net": {"0": torch.zeros(5, 3, dtype=torch.bfloat16)}, "step": 0}
    stock.load(by_stock, checkpoint_id=tmp_path)
    require_equal(by_stock, {"net": {"0": ramp(5, 3).bfloat16()}, "step": 7})


def test_a_rename_that_makes_one_key_of_two_is_refused(tmp_path: pathlib.Path) -> None:
    state = {"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}}
    with pytest.raises(dcpcpp.CheckpointException, match=r"rename makes .x\.w. of both .a\.w. and"):
        dcpcpp.save(state, checkpoint_id=tmp_path, rename={"a": "x", "b": "x"})


def test_a_rename_that_makes_no_name_is_refused(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": torch.ones(1)}, checkpoint_id=tmp_path)
    for call in (dcpcpp.save, dcpcpp.load):
        with pytest.raises(dcpcpp.CheckpointException, match="rename makes None of the key 'a'"):
            call({"a": torch.ones(1)}, checkpoint_id=tmp_path, rename={"a": None}.get)


def layers() -> dict[str, object]:
    return {"module": {"layers": [{"w": ramp(2, start=number)} for number in range(3)]}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("module.layers.0", "module.layers.5"),
        ("module.layers.2", "module.layers.5"),
        ("module.layers.0.w", "module.layers"),
        ("module.layers.2.w", "module.layers"),
        ("module.layers.0.w", "module.layers.1.w.x"),
        ("module.layers.0.w", "module"),
    ],
)
def test_a_key_that_is_renamed_into_a_list_or_over_a_container_is_found_under_its_name(
    tmp_path: pathlib.Path, old: str, new: str
) -> None:
    saved = layers()
    dcpcpp.save(saved, checkpoint_id=tmp_path, rename={old: new})
    name = new if old.endswith("w") else f"{new}.w"
    number = int(old.split(".")[2])
    full = _state_dict.flatten(dcpcpp.load_full(tmp_path), torch.is_tensor).leaves
    require_equal(full.pop(name), ramp(2, start=number))
    for other in {0, 1, 2} - {number}:
        require_equal(full.pop(f"module.layers.{other}.w"), ramp(2, start=other))
    assert all(value is None for value in full.values())  # what is left of the list
    loaded = blank(saved)
    dcpcpp.load(loaded, checkpoint_id=tmp_path, rename={old: new})
    require_equal(loaded, saved)


def test_load_full_loses_no_key_that_lies_within_another(tmp_path: pathlib.Path) -> None:
    """Whichever of them comes first."""
    state = {"a": {"b": ramp(1)}, "y": ramp(2)}
    dcpcpp.save(state, checkpoint_id=tmp_path / "1", rename={"y": "a"})
    dcpcpp.save(
        {"a": ramp(2), "y": {"b": ramp(1)}}, checkpoint_id=tmp_path / "2", rename={"y": "a"}
    )
    for name in ("1", "2"):
        full = dcpcpp.load_full(tmp_path / name)
        assert set(full) == {"a", "a.b"}
        require_equal(full["a"], ramp(2))
        require_equal(full["a.b"], ramp(1))
