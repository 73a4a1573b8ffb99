"""Files and options: what lies where in a checkpoint directory."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint._extension import ZStandard

import dcpcpp
from support.ranks import run_on_ranks
from support.states import blank, ramp, require_equal, require_same_meaning


def state() -> dict[str, Any]:
    return {
        "zeros": torch.zeros(300, 700),
        "ramp": ramp(64, 64),
        "empty": torch.empty(0),
        "transposed": ramp(5, 6).t(),
        "object": {"k": (1, "x")},
        "step": 7,
    }


def names(path: pathlib.Path) -> list[str]:
    """The files of a checkpoint, without the sidecar of checksums."""
    return sorted(p.name for p in path.iterdir() if "dcpcpp" not in p.name)


def load_both(path: pathlib.Path, expected: dict[str, Any]) -> None:
    for loader in (stock, dcpcpp):
        loaded = blank(expected)
        loader.load(loaded, checkpoint_id=path)
        require_equal(loaded, expected)


def test_a_fresh_directory_has_torchs_names(tmp_path: pathlib.Path) -> None:
    dcpcpp.save(state(), checkpoint_id=tmp_path / "new" / "deep")
    assert names(tmp_path / "new" / "deep") == [".metadata", "__0_0.distcp"]


def test_a_relative_path_works(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    dcpcpp.save(state(), checkpoint_id="here")
    assert names(tmp_path / "here") == [".metadata", "__0_0.distcp"]
    loaded = blank(state())
    dcpcpp.load(loaded, checkpoint_id="here")
    require_equal(loaded, state())


WRITERS = {
    "plain": {},
    "zstd": {"compression": "zstd"},
    "zstd extension": {"_extensions": [ZStandard()]},
    "threads": {"thread_count": 3},
    "files": {"single_file_per_rank": False},
    "zstd files": {"single_file_per_rank": False, "compression": "zstd"},
    "zstd threads": {"thread_count": 2, "compression": "zstd"},
    "buffered": {"direct_io": False},
    "threads engine": {"io_engine": "threads", "io_threads": 2},
    "unsynced": {"sync_files": False},
    "torch's": {"torch": True},
    "torch's threads": {"torch": True, "thread_count": 3},
    "torch's zstd": {"torch": True, "_extensions": [ZStandard()]},
    "torch's files": {"torch": True, "single_file_per_rank": False},
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_way_to_write_is_read_by_both(name: str, tmp_path: pathlib.Path) -> None:
    options = dict(WRITERS[name])
    library = stock if options.pop("torch", False) else dcpcpp
    writer = library.FileSystemWriter(tmp_path, **options)
    metadata = dcpcpp.save(state(), storage_writer=writer)
    load_both(tmp_path, state())
    reference = stock.save(state(), checkpoint_id=tmp_path / "reference")
    require_same_meaning(metadata, reference)
    require_equal(dcpcpp.load_full(tmp_path), state())


def test_we_read_every_way_in_which_torch_writes(tmp_path: pathlib.Path) -> None:
    for number, options in enumerate(
        ({}, {"thread_count": 3}, {"single_file_per_rank": False}, {"_extensions": [ZStandard()]})
    ):
        path = tmp_path / str(number)
        stock.save(state(), storage_writer=stock.FileSystemWriter(path, **options))
        loaded = blank(state())
        dcpcpp.load(loaded, storage_reader=stock.FileSystemReader(path))
        require_equal(loaded, state())


def test_compressed_items_are_small_and_named_as_torchs(tmp_path: pathlib.Path) -> None:
    ours = dcpcpp.save(state(), checkpoint_id=tmp_path / "ours", compression="zstd")
    theirs = stock.save(
        state(),
        storage_writer=stock.FileSystemWriter(tmp_path / "theirs", _extensions=[ZStandard()]),
    )
    for metadata in (ours, theirs):
        descriptors = {tuple(i.transform_descriptors) for i in metadata.storage_data.values()}
        assert descriptors == {("stream.zstd/1",)}
    size = (tmp_path / "ours" / "__0_0.distcp").stat().st_size
    assert size < 1.2 * (tmp_path / "theirs" / "__0_0.distcp").stat().st_size
    assert size < state()["zeros"].nbytes / 4


def test_thread_count_is_the_number_of_files(tmp_path: pathlib.Path) -> None:
    """Files that would be empty are left out, which torch writes."""
    for path, value, count in (("many", state(), 3), ("one", {"only": ramp(3)}, 1)):
        writer = dcpcpp.FileSystemWriter(tmp_path / path, thread_count=3)
        dcpcpp.save(value, storage_writer=writer)
        files = [f"__0_{number}.distcp" for number in range(count)]
        assert names(tmp_path / path) == [".metadata", *files]


def test_one_file_an_item(tmp_path: pathlib.Path) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path, single_file_per_rank=False)
    metadata = dcpcpp.save(state(), storage_writer=writer)
    files = {info.relative_path for info in metadata.storage_data.values()}
    assert files == {f"__0_{number}.distcp" for number in range(len(state()))}
    assert {info.offset for info in metadata.storage_data.values()} == {0}


def test_an_overwrite_takes_new_names_and_removes_the_old_files(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "__0_7.distcp").write_bytes(b"of a killed save")
    dcpcpp.save(state(), checkpoint_id=tmp_path)
    assert names(tmp_path) == [".metadata", "__0_7.distcp", "__0_8.distcp", "tokenizer.json"]
    with pytest.warns(UserWarning, match="Detected an existing checkpoint in") as caught:
        dcpcpp.save({"other": ramp(5)}, checkpoint_id=tmp_path)
    assert caught[0].filename == __file__, "the warning points at the caller"
    assert names(tmp_path) == [".metadata", "__0_9.distcp", "tokenizer.json"], (
        "no checkpoint names __0_7.distcp: a leftover"
    )
    assert len([p for p in tmp_path.iterdir() if "dcpcpp" in p.name]) <= 1, "one sidecar a save"
    load_both(tmp_path, {"other": ramp(5)})


def test_torch_overwrites_what_we_saved_and_we_what_torch_saved(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"first": ramp(9)}, checkpoint_id=tmp_path)
    stock.save(state(), checkpoint_id=tmp_path)
    load_both(tmp_path, state())
    dcpcpp.save({"third": ramp(4)}, checkpoint_id=tmp_path)
    load_both(tmp_path, {"third": ramp(4)})


def test_overwrite_false_leaves_the_old_checkpoint(tmp_path: pathlib.Path) -> None:
    dcpcpp.save(state(), checkpoint_id=tmp_path)
    before = names(tmp_path)
    writer = dcpcpp.FileSystemWriter(tmp_path, overwrite=False)
    with pytest.raises(
        dcpcpp.CheckpointException, match=r"Checkpoint already exists and self\.overwrite=False"
    ) as caught:
        dcpcpp.save({"other": ramp(5)}, storage_writer=writer)
    assert isinstance(caught.value.failures[0][0], RuntimeError)
    assert names(tmp_path) == before
    load_both(tmp_path, state())


def save_four(path: str, options: dict[str, Any]) -> None:
    writer = dcpcpp.FileSystemWriter(path, **options)
    dcpcpp.save(
        {f"t{number}": ramp(100, 100) + number for number in range(8)}, storage_writer=writer
    )


def test_ranks_name_files_by_their_number(tmp_path: pathlib.Path) -> None:
    run_on_ranks(4, save_four, str(tmp_path), {"thread_count": 2})
    expected = [f"__{rank}_{number}.distcp" for rank in range(4) for number in range(2)]
    assert names(tmp_path) == [".metadata", *expected]
    run_on_ranks(2, save_four, str(tmp_path), {})
    assert names(tmp_path) == [".metadata", "__0_2.distcp", "__1_2.distcp"]


def own_state(*, filled: bool) -> dict[str, Any]:
    """A state with nothing in it that two ranks share, and something that they do."""
    rank = dist.get_rank()
    values = {"own": ramp(3) + rank, "shared": ramp(2, 2), "rank": rank}
    return values if filled else blank(values)


def each_rank_alone(path: str) -> None:
    """use_collectives=False, both ways, and no_dist=True."""
    both = (dcpcpp, stock)
    for saver, loader in ((dcpcpp, dcpcpp), (dcpcpp, stock), (stock, dcpcpp)):
        folder = f"{path}/{saver.__name__}"
        if loader is not stock:
            saver.save(own_state(filled=True), checkpoint_id=folder, use_collectives=False)
        loaded = own_state(filled=False)
        loader.load(loaded, checkpoint_id=folder)
        require_equal(loaded, own_state(filled=True), f"{saver.__name__}, {loader.__name__}")
    for library in both:
        folder = f"{path}/alone-{dist.get_rank()}-{library.__name__}"
        library.save(own_state(filled=True), checkpoint_id=folder, no_dist=True)
        for loader in both:
            loaded = own_state(filled=False)
            loader.load(loaded, checkpoint_id=folder, no_dist=True)
            require_equal(loaded, own_state(filled=True))


def test_ranks_may_save_each_by_itself(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, each_rank_alone, str(tmp_path))
    for library in ("dcpcpp", "torch.distributed.checkpoint"):
        assert names(tmp_path / library) == [
            "__0.metadata",
            "__0_0.distcp",
            "__1.metadata",
            "__1_0.distcp",
        ]
        assert names(tmp_path / f"alone-1-{library}") == [".metadata", "__0_0.distcp"]
        check_opening_by_rank(tmp_path / library)


def test_a_checkpoint_of_single_ranks_replaces_one_of_all_and_the_reverse(
    tmp_path: pathlib.Path,
) -> None:
    for step, together in enumerate([True, False, False, True, True]):
        state = {"w": ramp(3) + step, "step": step}
        dcpcpp.save(state, checkpoint_id=tmp_path, use_collectives=together)
        metadata = ".metadata" if together else "__0.metadata"
        assert [name for name in names(tmp_path) if "metadata" in name] == [metadata]
        assert len(names(tmp_path)) == 2
        for library in (dcpcpp, stock):
            loaded = {"w": torch.zeros(3), "step": -1}
            library.load(loaded, checkpoint_id=tmp_path)
            require_equal(loaded, state)


@pytest.mark.parametrize("together", [False, True])
def test_overwrite_false_respects_both_kinds(tmp_path: pathlib.Path, together: bool) -> None:
    dcpcpp.save({"w": ramp(3)}, checkpoint_id=tmp_path, use_collectives=together)
    before = names(tmp_path)
    writer = dcpcpp.FileSystemWriter(tmp_path, overwrite=False)
    with pytest.raises(dcpcpp.CheckpointException, match="already exists"):
        dcpcpp.save({"w": ramp(4)}, storage_writer=writer, use_collectives=not together)
    assert names(tmp_path) == before


def check_opening_by_rank(folder: pathlib.Path) -> None:
    for rank in range(2):
        state = {"own": ramp(3) + rank, "shared": ramp(2, 2), "rank": rank}
        require_equal(dcpcpp.load_full(folder, rank=rank), state)
        require_equal(dcpcpp.open(folder, rank=rank).get("own", 1), state["own"][1])
    hint = "there is metadata of ranks 0, 1, saved with use_collectives=False: open it with rank=0"
    for rank in (None, 2):
        with pytest.raises(FileNotFoundError, match=hint):
            dcpcpp.open(folder, rank=rank)
    with pytest.raises(FileNotFoundError, match=hint):
        dcpcpp.load_full(folder)


def save_to_own_directory(path: str) -> None:
    """Every rank has a directory of its own under the same name, as on local disks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    sharded = distribute_tensor(ramp(6, 4), mesh, [Shard(0)], src_data_rank=None)
    own = pathlib.Path(path) / f"node{dist.get_rank()}"
    own.mkdir()
    before = pathlib.Path.cwd()
    os.chdir(own)
    try:
        folder = "/proc/self/cwd/c"
        metadata = dcpcpp.save({"w": sharded, "plain": ramp(3)}, checkpoint_id=folder)
        assert len(metadata.storage_data) == 3
        # Each rank finds its own shard on its own disk, and the coordinator has the metadata.
        target = distribute_tensor(torch.zeros(6, 4), mesh, [Shard(0)], src_data_rank=None)
        dcpcpp.load({"w": target}, checkpoint_id=folder)
    finally:
        os.chdir(before)
    assert torch.equal(target.to_local(), sharded.to_local())


def test_directories_that_nodes_do_not_share_make_one_checkpoint(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_to_own_directory, str(tmp_path))
    here, there = tmp_path / "node0" / "c", tmp_path / "node1" / "c"
    assert names(here) == [".metadata", "__0_0.distcp"]
    assert names(there) == ["__1_0.distcp"]
    shutil.copy(there / "__1_0.distcp", here)
    load_both(here, {"w": ramp(6, 4), "plain": ramp(3)})
