"""The CRC-32s in items: ours by Python's zipfile, and those that stock torch leaves out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.ranks import run_on_ranks
from support.states import blank, ramp, require_equal

MIB = 1 << 20


def state() -> dict[str, Any]:
    """Items of less than a block, of several, and of none; some that are gathered or converted."""
    return {
        "large": ramp(3 * MIB),
        "gathered": ramp(1500, 1100).t(),
        "conjugated": torch.view_as_complex(ramp(40_000, 2)).conj(),
        "expanded": ramp(700, 1).expand(700, 900),
        "small": ramp(3),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "half": ramp(33, 5).bfloat16(),
        "text": "x" * 100_000,
        "step": 7,
    }


class Own(stock.DefaultSavePlanner):
    pass


SAVES: dict[str, Callable[[Path], object]] = {
    "native": lambda path: dcpcpp.save(state(), checkpoint_id=path),
    "several files": lambda path: dcpcpp.save(
        state(), storage_writer=dcpcpp.FileSystemWriter(path, thread_count=3, io_threads=3)
    ),
    "a file each": lambda path: dcpcpp.save(
        state(), storage_writer=dcpcpp.FileSystemWriter(path, single_file_per_rank=False)
    ),
    "small buffers": lambda path: dcpcpp.save(
        state(), storage_writer=dcpcpp.FileSystemWriter(path, max_buffer_bytes=2 * MIB)
    ),
    "page cache": lambda path: dcpcpp.save(
        state(), storage_writer=dcpcpp.FileSystemWriter(path, direct_io=False, io_engine="threads")
    ),
    "exported": lambda path: dcpcpp.save(state(), checkpoint_id=path, export_dtype=torch.float16),
    "async_save": lambda path: dcpcpp.async_save(state(), checkpoint_id=path).result(),
    "torch's protocol": lambda path: dcpcpp.save(state(), checkpoint_id=path, planner=Own()),
    "torch's save": lambda path: stock.save(state(), storage_writer=dcpcpp.FileSystemWriter(path)),
}


def items_of(path: Path) -> Iterator[tuple[str, bytes]]:
    for index, info in faults.read_metadata(path).storage_data.items():
        with (path / info.relative_path).open("rb") as file:
            file.seek(info.offset)
            yield index.fqn, file.read(info.length)


def require_right_crcs(path: Path) -> set[str]:
    """Raise AssertionError unless each record of each item has its CRC-32; the items' keys."""
    keys = set()
    for key, item in items_of(path):
        with zipfile.ZipFile(io.BytesIO(item)) as archive:
            assert len(archive.infolist()) >= 5
            assert archive.testzip() is None, key
        keys.add(key)
    return keys


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_every_record_of_an_item_has_its_crc(
    save: Callable[[Path], object], tmp_path: Path
) -> None:
    save(tmp_path)
    assert require_right_crcs(tmp_path) == set(state())


def save_on_ranks(path: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    sharded = distribute_tensor(ramp(1501, 1000), mesh, [Shard(1)], src_data_rank=None)
    # Large enough to be written in parts by both ranks.
    dcpcpp.save({"sharded": sharded, "replicated": ramp(24 * MIB)}, checkpoint_id=path)


def test_parts_of_ranks_have_their_crcs(tmp_path: Path) -> None:
    run_on_ranks(2, save_on_ranks, str(tmp_path))
    assert len(list(items_of(tmp_path))) == 4
    assert require_right_crcs(tmp_path) == {"sharded", "replicated"}


def test_items_of_torch_without_crcs_are_read(tmp_path: Path) -> None:
    """Zero stands for "not recorded": a user may have told torch not to compute them."""
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        stock.save(state(), checkpoint_id=tmp_path)
    finally:
        torch.serialization.set_crc32_options(computed)
    for _, item in items_of(tmp_path):
        with zipfile.ZipFile(io.BytesIO(item)) as archive:
            assert {record.CRC for record in archive.infolist()} == {0}
    loaded = blank(state())
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state())
    require_equal(dcpcpp.open(tmp_path).get("large", slice(5, 9)), ramp(3 * MIB)[5:9])


def test_an_item_whose_crc_is_cleared_for_one_record_only_is_checked_by_the_others(
    tmp_path: Path,
) -> None:
    stock.save({"w": ramp(1000), "v": ramp(1000, start=5000)}, checkpoint_id=tmp_path)
    data = tmp_path / "__0_0.distcp"
    content = bytearray(data.read_bytes())
    for fqn, item in items_of(tmp_path):
        with zipfile.ZipFile(io.BytesIO(item)) as archive:
            crc = archive.getinfo("archive/data/0").CRC
        if fqn == "w":  # in the central directory, and behind the data
            assert content.count(crc.to_bytes(4, "little")) == 2
            content = content.replace(crc.to_bytes(4, "little"), bytes(4))
    data.write_bytes(content)
    loaded = {"w": torch.zeros(1000), "v": torch.zeros(1000)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, {"w": ramp(1000), "v": ramp(1000, start=5000)})
    for value in loaded.values():
        faults.flip_byte(data, bytes(content).index(value[500:].numpy().tobytes()))
    dcpcpp.load({"w": torch.zeros(1000)}, checkpoint_id=tmp_path)
    with pytest.raises(dcpcpp.CheckpointCorruptedError) as info:
        dcpcpp.load({"v": torch.zeros(1000)}, checkpoint_id=tmp_path)
    assert info.value.key == "v"
