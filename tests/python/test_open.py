"""open and load_full: a checkpoint with no template and no process group."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import ramp, require_equal


@pytest.fixture(params=[stock.save, dcpcpp.save], ids=["stock", "ours"])
def saved(request, tmp_path: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    state = {
        "model": {
            "weight": ramp(6, 4, 5),
            "scalar": torch.tensor(2.5, dtype=torch.float64),
            "empty": torch.empty(0, 3),
            "layers": [{"bias": ramp(3)}, {"bias": ramp(3, start=3)}],
        },
        "modeling": ramp(2),
        "step": 7,
        "note": ("a", None),
    }
    request.param(state, checkpoint_id=tmp_path)
    return tmp_path, state


def test_open_tells_keys_kinds_shapes_and_dtypes(saved) -> None:
    path, _ = saved
    checkpoint = dcpcpp.open(path)
    keys = stock.FileSystemReader(path).read_metadata().state_dict_metadata
    assert list(checkpoint) == checkpoint.keys() == list(keys)
    assert len(checkpoint) == len(keys)
    assert "model.weight" in checkpoint
    assert "model" not in checkpoint
    assert checkpoint.is_tensor("model.weight")
    assert not checkpoint.is_tensor("step")
    assert checkpoint.shape("model.weight") == torch.Size([6, 4, 5])
    assert checkpoint.dtype("model.scalar") == torch.float64
    assert checkpoint.path("model.layers.1.bias") == ("model", "layers", 1, "bias")


def test_one_key_is_one_value(saved) -> None:
    path, state = saved
    checkpoint = dcpcpp.open(str(path))
    require_equal(checkpoint["model.weight"], state["model"]["weight"])
    require_equal(checkpoint.get("model.scalar"), state["model"]["scalar"])
    require_equal(checkpoint["model.empty"], state["model"]["empty"])
    require_equal(checkpoint["step"], 7)
    require_equal(checkpoint["note"], ("a", None))
    several = checkpoint.get_many(["step", "model.layers.0.bias"])
    require_equal(several, {"step": 7, "model.layers.0.bias": ramp(3)})


class CountingCheckpoint:
    """Libdcp's Checkpoint, and the bytes that were read through it last."""

    def __init__(self, core: Any) -> None:
        self.core, self.metadata, self.nbytes = core, core.metadata, 0

    def read(self, entries: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.core.read(entries)
        self.nbytes = result["nbytes_read"]
        return result


MIB = 1 << 20


@pytest.mark.parametrize(
    ("saver", "verify", "most"),
    # Our checksums are of blocks of 1 MiB, which are read whole; an item of stock torch has
    # one checksum, and its data is found through its zip directory.
    [
        (dcpcpp.save, True, 2 * MIB),
        (dcpcpp.save, False, 64 << 10),
        (stock.save, True, 17 * MIB),
        (stock.save, False, 384 << 10),
    ],
    ids=["ours", "ours unchecked", "stock", "stock unchecked"],
)
def test_a_slice_is_the_slice_and_reads_little(
    saver: Any, verify: bool, most: int, tmp_path: pathlib.Path
) -> None:
    whole = torch.arange(4 << 20, dtype=torch.float32).reshape(1024, 4096)
    saver({"w": whole}, checkpoint_id=tmp_path)
    checkpoint = dcpcpp.open(tmp_path, verify=verify)
    counting = checkpoint._core = CountingCheckpoint(checkpoint._core)
    for index in (
        (3,),
        (slice(5, 9),),
        (slice(5, 9), 7),
        (-1, slice(-4, None)),
        (slice(None), slice(10, 12)),
        (slice(4, 4),),
        (),
    ):
        counting.nbytes = 0
        part = checkpoint.get("w", index)
        require_equal(part, whole[index])
        is_rows = index and index[0] != slice(None)
        assert counting.nbytes <= (most if is_rows else 17 * MIB), index
        assert counting.nbytes >= part.nbytes


def test_indices_that_do_not_fit_are_told(saved) -> None:
    path, _ = saved
    checkpoint = dcpcpp.open(path)
    with pytest.raises(IndexError, match="4 indices for a tensor of 3 dimensions"):
        checkpoint.get("model.weight", (0, 0, 0, 0))
    with pytest.raises(IndexError, match="index 6 is out of bounds for dimension 0"):
        checkpoint.get("model.weight", (6,))
    with pytest.raises(TypeError, match="indexed by ints and slices, not Ellipsis"):
        checkpoint.get("model.weight", (..., 1))
    with pytest.raises(ValueError, match="step 1"):
        checkpoint.get("model.weight", (slice(0, 4, 2),))
    with pytest.raises(KeyError, match=r"no key 'model\.nothing'"):
        checkpoint.get("model.nothing")
    with pytest.raises(KeyError, match="'step' is an object"):
        checkpoint.shape("step")


def test_an_index_need_not_be_a_tuple(saved) -> None:
    path, _ = saved
    checkpoint = dcpcpp.open(path)
    whole = checkpoint["model.weight"]
    assert torch.equal(checkpoint.get("model.weight", 2), whole[2])
    assert torch.equal(checkpoint.get("model.weight", slice(1, 3)), whole[1:3])
    assert torch.equal(checkpoint.get("model.weight", (torch.tensor(1),)), whole[1])
    assert 5 not in checkpoint


def test_load_full_builds_the_nested_state(saved) -> None:
    path, state = saved
    require_equal(dcpcpp.load_full(path), state)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("step", {"step": 7}),
        ("model.layers.1", {"model": {"layers": [None, {"bias": ramp(3, start=3)}]}}),
        ({"step", "model.scalar"}, {"model": {"scalar": torch.tensor(2.5).double()}, "step": 7}),
        ("model.lay", {}),
        (set(), {}),
    ],
    ids=["one", "prefix", "two", "no component", "none"],
)
def test_load_full_takes_keys_and_prefixes(saved, keys, expected) -> None:
    path, _ = saved
    require_equal(dcpcpp.load_full(path, keys), expected)


def test_load_full_agrees_with_torchs_private_function(saved) -> None:
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

    path, _ = saved
    for keys in (None, {"model.weight", "step"}, {"model"}):
        require_equal(
            dcpcpp.load_full(path, keys), _load_state_dict_from_keys(keys, checkpoint_id=path)
        )


def test_tensors_are_on_the_cpu_whatever_the_default_device(saved) -> None:
    path, state = saved
    with torch.device("meta"):
        whole = dcpcpp.open(path).get("model.weight")
        part = dcpcpp.open(path).get("model.weight", slice(1, 3))
        full = dcpcpp.load_full(path)
    assert torch.equal(whole, state["model"]["weight"])
    assert torch.equal(part, state["model"]["weight"][1:3])
    require_equal(full, state)


def test_the_metadata_of_an_open_checkpoint_is_torchs(saved) -> None:
    path, _ = saved
    theirs = stock.FileSystemReader(path).read_metadata()
    ours = dcpcpp.open(path).metadata()
    assert type(ours) is stock.Metadata
    assert ours.state_dict_metadata == theirs.state_dict_metadata
    assert ours.storage_data == theirs.storage_data
    assert ours.planner_data == theirs.planner_data
