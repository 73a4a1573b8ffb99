"""Our writer and reader inside stock torch.distributed.checkpoint."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import format_utils

import dcpcpp
from support.layouts import require_same_shards, sharded_state
from support.ranks import run_on_ranks
from support.states import bits, blank, ramp, require_equal, require_same_meaning

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is unavailable")


def state() -> dict[str, Any]:
    return {
        "model": {"w": ramp(64, 32), "t": ramp(5, 6).t(), "empty": torch.empty(0, 2)},
        "zeros": torch.zeros(100_000),
        "scalar": torch.tensor(3, dtype=torch.int16),
        "object": ("a", {1: 2}),
        "step": 7,
    }


OPTIONS = [
    {},
    {"thread_count": 3},
    {"single_file_per_rank": False},
    {"compression": "zstd"},
    {"direct_io": False, "io_engine": "threads"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_our_writer_works_in_torchs_save(options, tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path / "ours", **options)
    metadata = stock.save(state(), storage_writer=writer)
    assert metadata.storage_meta.checkpoint_id == str(tmp_path / "ours"), "no path of Python's"
    with (tmp_path / "ours" / ".metadata").open("rb") as file:
        assert pickle.load(file).storage_meta == metadata.storage_meta
    require_same_meaning(metadata, stock.save(state(), checkpoint_id=tmp_path / "theirs"))
    for loader in (stock.load, dcpcpp.load):
        loaded = blank(state())
        loader(loaded, checkpoint_id=tmp_path / "ours")
        require_equal(loaded, state())


@pytest.mark.parametrize("saver", [stock, dcpcpp], ids=["stock", "ours"])
def test_our_reader_works_in_torchs_load(saver, tmp_path: pathlib.Path) -> None:
    saver.save(state(), checkpoint_id=tmp_path)
    loaded = blank(state())
    stock.load(loaded, storage_reader=dcpcpp.FileSystemReader(tmp_path))
    require_equal(loaded, state())


def test_one_writer_and_one_reader_serve_many_checkpoints(tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path / "unused")
    reader = dcpcpp.FileSystemReader(tmp_path / "unused")
    for library in (stock, dcpcpp, stock):
        for number in range(2):
            path = tmp_path / f"{library.__name__}-{number}"
            library.save({"w": ramp(3) + number}, storage_writer=writer, checkpoint_id=path)
            loaded = {"w": torch.zeros(3)}
            library.load(loaded, storage_reader=reader, checkpoint_id=path)
            require_equal(loaded, {"w": ramp(3) + number})
    assert not (tmp_path / "unused").exists()


class FailingPlanner(stock.DefaultSavePlanner):
    def resolve_data(self, write_item: Any) -> Any:
        raise RuntimeError("no data")


# A checkpoint of another format; the name of the save's sidecar; nothing.
@pytest.mark.parametrize("in_the_way", ["model.safetensors", ".dcpcpp-aa", ""])
def test_a_failed_save_is_not_in_the_way_of_the_next_one(
    in_the_way: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcpcpp._native_writer._new_save_id", lambda: "dcpcpp-aa")
    if in_the_way:
        (tmp_path / in_the_way).write_bytes(b"")
    writer = dcpcpp.FileSystemWriter(tmp_path)
    planner = stock.DefaultSavePlanner() if in_the_way else FailingPlanner()
    with pytest.raises(stock.CheckpointException):
        stock.save(state(), storage_writer=writer, planner=planner)
    left = {path.name for path in tmp_path.iterdir()} - {in_the_way}
    assert left == set(), "neither data nor a lock"
    for path in tmp_path.iterdir():
        path.unlink()
    dcpcpp.save(state(), checkpoint_id=tmp_path)  # while that writer is still there
    assert (tmp_path / ".metadata").exists()


def test_exported_floats_are_what_torchs_metadata_says(tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path, export_dtype=torch.bfloat16)
    values = {"w": ramp(10) / 3, "n": torch.arange(3)}
    values["packed"] = torch.arange(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    stock.save(values, storage_writer=writer)
    assert dcpcpp.open(tmp_path).dtype("w") == torch.bfloat16
    require_equal(dcpcpp.load_full(tmp_path), values | {"w": values["w"].bfloat16()})
    loaded = blank(values)
    stock.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, values | {"w": values["w"].bfloat16().float()})


def test_async_save_takes_our_writer(tmp_path: pathlib.Path) -> None:
    """torch wants a process group for it."""
    run_on_ranks(2, save_asynchronously, str(tmp_path))


def save_asynchronously(path: str) -> None:
    for number in range(2):
        source = sharded_state(0, filled=True)
        expected = {key: bits(value) for key, value in source.items() if key == "plain"}
        writer = dcpcpp.FileSystemWriter(f"{path}/{number}")
        future = stock.async_save(source, storage_writer=writer)
        source["plain"].zero_()  # the state was copied before
        metadata = future.result()
        assert isinstance(metadata, stock.Metadata)
        loaded = sharded_state(2, filled=False)
        stock.load(loaded, storage_reader=dcpcpp.FileSystemReader(f"{path}/{number}"))
        assert bits(loaded["plain"]) == expected["plain"]
        require_same_shards(loaded, sharded_state(2, filled=True))


def mixed_in_all_ways(path: str) -> None:
    """Library, writer and reader of either side, on several ranks."""
    ours, theirs = dcpcpp, stock
    for saver, writing in ((theirs, ours), (ours, theirs), (theirs, theirs)):
        folder = f"{path}/{saver.__name__}-{writing.__name__}"
        writer = writing.FileSystemWriter(folder)
        metadata = saver.save(sharded_state(0, filled=True), storage_writer=writer)
        assert len(metadata.state_dict_metadata) == len(sharded_state(0, filled=False))
        for loader, reading in ((theirs, ours), (ours, theirs), (theirs, theirs), (ours, ours)):
            loaded = sharded_state(1, filled=False)
            loader.load(loaded, storage_reader=reading.FileSystemReader(folder))
            require_same_shards(loaded, sharded_state(1, filled=True))


def test_libraries_writers_and_readers_mix_on_ranks(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, mixed_in_all_ways, str(tmp_path))


def ranks_alone_with_our_writer(path: str) -> None:
    rank = dist.get_rank()
    values = {"own": ramp(3) + rank, "rank": rank}
    writer = dcpcpp.FileSystemWriter(path)
    stock.save(values, storage_writer=writer, use_collectives=False)
    for loader, reading in ((stock, dcpcpp), (dcpcpp, stock), (stock, stock)):
        loaded = blank(values)
        loader.load(loaded, storage_reader=reading.FileSystemReader(path))
        require_equal(loaded, values)


def test_ranks_alone_use_our_writer_too(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, ranks_alone_with_our_writer, str(tmp_path))
    assert {p.name for p in tmp_path.glob("*.metadata")} == {"__0.metadata", "__1.metadata"}


def test_torchs_converters_read_and_write_ours(tmp_path: pathlib.Path) -> None:
    plain = {"w": ramp(4, 3), "nested": {"x": ramp(2)}}
    dcpcpp.save(plain, checkpoint_id=tmp_path / "dcp")
    format_utils.dcp_to_torch_save(tmp_path / "dcp", tmp_path / "one.pt")
    require_equal(torch.load(tmp_path / "one.pt"), plain)
    format_utils.torch_save_to_dcp(tmp_path / "one.pt", tmp_path / "again")
    require_equal(dcpcpp.load_full(tmp_path / "again"), plain)


def test_the_deprecated_functions_work(tmp_path: pathlib.Path) -> None:
    with pytest.warns(FutureWarning, match="`save_state_dict` is deprecated"):
        metadata = dcpcpp.save_state_dict(state(), dcpcpp.FileSystemWriter(tmp_path), no_dist=True)
    assert isinstance(metadata, stock.Metadata)
    loaded = blank(state())
    with pytest.warns(FutureWarning, match="`load_state_dict` is deprecated"):
        dcpcpp.load_state_dict(loaded, stock.FileSystemReader(tmp_path), no_dist=True)
    require_equal(loaded, state())


def test_a_second_positional_argument_is_the_storage(tmp_path: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match="argument order of save has been changed"):
        dcpcpp.save(state(), dcpcpp.FileSystemWriter(tmp_path))
    loaded = blank(state())
    with pytest.warns(UserWarning, match="argument order of load has been changed"):
        dcpcpp.load(loaded, dcpcpp.FileSystemReader(tmp_path))
    require_equal(loaded, state())


def test_load_sharded_optimizer_state_dict_reads_ours(tmp_path: pathlib.Path) -> None:
    """torch's function for FSDP1 finds the paths of an optimizer in the metadata."""
    optimizer = {"state": {"w": {"exp_avg": ramp(4), "step": torch.tensor(2.0)}}}
    dcpcpp.save({"optim": optimizer}, checkpoint_id=tmp_path)
    run_on_ranks(1, load_optimizer, str(tmp_path))


def load_optimizer(path: str) -> None:
    loaded = dcpcpp.load_sharded_optimizer_state_dict(
        model_state_dict={"w": ramp(4)},
        optimizer_key="optim",
        storage_reader=dcpcpp.FileSystemReader(path),
    )
    require_equal(loaded["optim"]["state"]["w"]["step"], torch.tensor(2.0))
