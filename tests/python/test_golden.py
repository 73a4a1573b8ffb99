"""Checkpoints that named versions of stock torch wrote; see tests/golden/README.md."""

from __future__ import annotations

import json
import pathlib
import pickle
import zlib
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock

import dcpcpp
from support.ranks import run_on_ranks
from support.states import bits, ramp, require_equal

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
WITH_METADATA = sorted(path.parent for path in GOLDEN.glob("*/*/.metadata"))
CASES = [
    path
    for path in WITH_METADATA
    if (path / "expected.json").exists() and any(path.glob("*.distcp"))
]


def name_of(path: pathlib.Path) -> str:
    return f"{path.parent.name}/{path.name}"


def expected_of(path: pathlib.Path) -> dict[str, Any]:
    return json.loads((path / "expected.json").read_text())["metadata"][".metadata"]


def described(value: Any) -> dict[str, Any]:
    """A value as make_golden.py describes it."""
    if value is None:
        return {"t": "none"}
    if type(value) is bool:
        return {"t": "bool", "v": value}
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return {"t": "int", "v": str(value)}
    if type(value) is float:
        return {"t": "float", "v": value.hex()}
    if type(value) is str:
        return {"t": "str", "v": value}
    if type(value) is bytes:
        return {"t": "bytes", "v": value.hex()}
    if isinstance(value, (list, tuple)):
        kind = "list" if type(value) is list else "tuple"
        return {"t": kind, "v": [described(item) for item in value]}
    if isinstance(value, dict):
        return {"t": "dict", "v": [[key, described(item)] for key, item in value.items()]}
    raise AssertionError(f"not described: {value!r}")


def require_stored_chunk(checkpoint: Any, entry: dict[str, Any], box: dict[str, Any]) -> None:
    """Compare one stored box with torch's own reading of it."""
    item = entry["item"]
    index = tuple(
        slice(offset, offset + size)
        for offset, size in zip(box["offsets"], box["sizes"], strict=True)
    )
    value = checkpoint.get(entry["fqn"], index)
    assert value.dtype == getattr(torch, item["dtype"])
    assert list(value.shape) == item["sizes"]
    if item["conj"]:
        value = value.conj().resolve_conj()
    if item["neg"]:
        value = -value
    assert zlib.crc32(bits(value)) == item["crc32"], entry["fqn"]


def require_stored_item(
    checkpoint: Any, entry: dict[str, Any], chunks: dict[str, list[dict[str, Any]]]
) -> None:
    item = entry["item"]
    if item["kind"] == "tensor":
        box = next(b for b in chunks[entry["fqn"]] if b["offsets"] == entry["offset"])
        require_stored_chunk(checkpoint, entry, box)
    elif item["kind"] == "object" and item["value"]["t"] != "unsupported":
        assert described(checkpoint.get(entry["fqn"])) == item["value"], entry["fqn"]


def test_there_are_checkpoints_of_all_these_versions() -> None:
    """What there is not, the tests below would pass over."""
    versions = {path.parent.name.split("-")[1] for path in CASES}
    assert versions >= {"1.13.1", "2.0.1", "2.1.2", "2.2.2", "2.3.1", "2.4.1", "2.6.0"}
    assert versions >= {"2.8.0", "2.9.1", "2.13.0", "2.15.0"}
    assert len(CASES) < len(WITH_METADATA), "of some there is the metadata only"


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_every_item_is_what_torch_found_in_it(path: pathlib.Path) -> None:
    expected = expected_of(path)
    checkpoint = dcpcpp.open(path)
    assert checkpoint.keys() == [entry["fqn"] for entry in expected["entries"]]
    chunks = {}
    for entry in expected["entries"]:
        assert checkpoint.is_tensor(entry["fqn"]) == (entry["kind"] == "tensor")
        if entry["kind"] == "tensor":
            assert list(checkpoint.shape(entry["fqn"])) == entry["size"]
            chunks[entry["fqn"]] = entry["chunks"]
    for entry in expected["storage"]:
        require_stored_item(checkpoint, entry, chunks)


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_load_full_gives_every_key_its_path(path: pathlib.Path) -> None:
    expected = expected_of(path)
    allow_pickle = any(
        entry["item"]["kind"] == "object" and entry["item"]["value"]["t"] == "unsupported"
        for entry in expected["storage"]
    )
    if allow_pickle:  # the class of one object was the writing script's own
        keys = {entry["fqn"] for entry in expected["entries"]} - {"opaque"}
        state = dcpcpp.load_full(path, keys)
    else:
        keys = {entry["fqn"] for entry in expected["entries"]}
        state = dcpcpp.load_full(path)
    paths = expected["planner_data"] or {}
    for key in keys:
        value: Any = state
        for part in paths.get(key, [key]):
            value = value[part]
        assert isinstance(value, torch.Tensor) == dcpcpp.open(path).is_tensor(key)


def stock_can_unpickle(path: pathlib.Path) -> bool:
    """Not what Python 3.13, torch 1.x and 2.15, and other frameworks have put in there."""
    version = path.parent.name
    foreign = version.endswith("py3.13") or version.startswith(("torch-1.", "torch-2.15"))
    return not foreign and path.name != "megatron_like"


@pytest.mark.parametrize("path", list(filter(stock_can_unpickle, WITH_METADATA)), ids=name_of)
def test_metadata_is_what_torch_unpickles(path: pathlib.Path) -> None:
    ours = dcpcpp.FileSystemReader(path).read_metadata()
    with (path / ".metadata").open("rb") as file:
        theirs = pickle.load(file)
    assert list(ours.state_dict_metadata) == list(theirs.state_dict_metadata)
    for key, entry in theirs.state_dict_metadata.items():
        mine = ours.state_dict_metadata[key]
        assert type(mine).__name__ == type(entry).__name__
        if hasattr(entry, "chunks"):
            assert (mine.size, mine.chunks) == (entry.size, entry.chunks)
            assert mine.properties.dtype == entry.properties.dtype
    assert ours.planner_data == theirs.planner_data
    assert ours.storage_data.keys() == theirs.storage_data.keys()


def test_the_format_of_torch_1_12_is_refused_by_name() -> None:
    with pytest.raises((ValueError, NotImplementedError, RuntimeError), match=r"1\.12"):
        dcpcpp.open(GOLDEN / "torch-1.12.1-py3.10" / "torch_1_12")


def test_an_unknown_class_is_refused_and_its_neighbours_are_not() -> None:
    checkpoint = dcpcpp.open(GOLDEN / "torch-2.13.0-py3.11" / "objects")
    with pytest.raises(pickle.UnpicklingError, match=r"'opaque' is not loaded.*Opaque"):
        _ = checkpoint["opaque"]
    assert checkpoint["set"] == {1, 2}
    assert checkpoint["int_too_big"] == 1 << 63
    assert checkpoint["size"] == torch.Size([2, 3])
    assert checkpoint["dtype"] is torch.float32
    require_equal(checkpoint["tensor_in_tuple"], (ramp(2), 1))


def test_a_checkpoint_with_metadata_only_lists_its_keys() -> None:
    checkpoint = dcpcpp.open(GOLDEN / "torch-2.13.0-py3.11" / "many_keys")
    assert len(checkpoint) == 1001
    with pytest.raises(FileNotFoundError, match=r"__0_0\.distcp"):
        _ = checkpoint["k5"]


def test_quantized_tensors_come_back_as_torch_made_them() -> None:
    value = dcpcpp.open(GOLDEN / "torch-2.13.0-py3.11" / "quantized")["q"]
    assert value.dtype == torch.qint8
    expected = torch.quantize_per_tensor(ramp(2, 3), 0.5, 3, torch.qint8)
    assert torch.equal(value.dequantize(), expected.dequantize())


def load_own_metadata(path: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    state = {"d": distribute_tensor(torch.zeros(5, 2), mesh, [Shard(0)]), "o": None}
    dcpcpp.load(state, checkpoint_id=path)
    assert state["o"] == dist.get_rank()
    assert torch.equal(state["d"].full_tensor(), ramp(5, 2))


@pytest.mark.parametrize("version", ["torch-2.9.1-py3.13", "torch-2.13.0-py3.11"])
def test_checkpoints_of_single_ranks_load_on_as_many(version: str) -> None:
    path = GOLDEN / version / "two_ranks_own_metadata"
    run_on_ranks(2, load_own_metadata, str(path))
    with pytest.raises(FileNotFoundError):
        dcpcpp.open(path)


def load_sharded_versions(paths: list[str]) -> None:
    """FSDP2 and DTensor checkpoints of every version, on other numbers of ranks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for path in paths:
        state = {
            "uneven": distribute_tensor(torch.zeros(5, 2), mesh, [Shard(1)]),
            "columns": distribute_tensor(torch.zeros(3, 4), mesh, [Shard(0)]),
            "replicated": distribute_tensor(torch.zeros(2, 2), mesh, [Shard(0)]),
            "plain": torch.zeros(2),
            "step": None,
        }
        dcpcpp.load(state, checkpoint_id=path)
        for key, expected in (
            ("uneven", ramp(5, 2)),
            ("columns", ramp(3, 4)),
            ("replicated", ramp(2, 2)),
        ):
            assert torch.equal(state[key].full_tensor(), expected), f"{key} of {path}"
        require_equal(state["plain"], ramp(2))
        assert state["step"] == 3


def test_sharded_checkpoints_of_all_versions_load_on_four_ranks() -> None:
    paths = sorted(str(path) for path in GOLDEN.glob("*/two_ranks_dtensor"))
    assert len(paths) >= 6
    run_on_ranks(4, load_sharded_versions, paths)


def test_stock_reads_what_we_make_of_old_checkpoints(tmp_path: pathlib.Path) -> None:
    state = dcpcpp.load_full(GOLDEN / "torch-1.13.1-py3.10" / "nested")
    dcpcpp.save(state, checkpoint_id=tmp_path)
    loaded = {"model": {"layers": [{"weight": torch.zeros(2, 2)}]}}
    stock.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded["model"]["layers"][0]["weight"], ramp(2, 2))
