"""Files of ours that a later version wrote: read where their writer allows it, else refused."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.states import ramp, require_equal

STATE = {"w": ramp(300, 1000), "step": 7}
MAGIC = b"DCPCPP\r\n"


def template() -> dict[str, Any]:
    return {"w": torch.zeros(300, 1000), "step": None}


def rewrite(directory: Path, version: int, min_reader: int, appended: bytes = b"") -> None:
    """Make the sidecar one of a later version: FORMAT.md, "The sidecar"."""
    (sidecar,) = directory.glob(".dcpcpp-*")
    data = sidecar.read_bytes()
    assert data[:8] == MAGIC
    assert struct.unpack("<II", data[8:16]) == (1, 1)
    no_index = b"\0"  # of version 2
    content = MAGIC + struct.pack("<II", version, min_reader) + data[16:-4] + no_index + appended
    sidecar.write_bytes(content + struct.pack("<I", zlib.crc32(content)))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    dcpcpp.save(STATE, checkpoint_id=tmp_path / "c")
    return tmp_path / "c"


def load_in_stock(path: Path) -> dict[str, Any]:
    state = template()
    stock.load(state, storage_reader=dcpcpp.FileSystemReader(path))
    return state


def load(path: Path) -> dict[str, Any]:
    state = template()
    dcpcpp.load(state, checkpoint_id=path)
    return state


READS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "load": load,
    "load_full": dcpcpp.load_full,
    "open": lambda path: {key: dcpcpp.open(path)[key] for key in STATE},
    "torch's load": load_in_stock,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_checkpoint_that_readers_of_today_may_read_is_read_and_checked(
    saved: Path, read: Callable[[Path], dict[str, Any]]
) -> None:
    rewrite(saved, version=9, min_reader=1, appended=b"what a later version knows")
    require_equal(read(saved), STATE)
    assert dcpcpp.verify(saved).ok
    data = saved / "__0_0.distcp"
    faults.flip_byte(data, data.read_bytes().index(STATE["w"][250:].numpy().tobytes()))
    with pytest.raises(
        (dcpcpp.CheckpointCorruptedError, stock.CheckpointException), match="CRC-32"
    ):
        read(saved)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_checkpoint_that_needs_a_later_reader_is_refused_with_the_way_out(
    saved: Path, read: Callable[[Path], dict[str, Any]]
) -> None:
    rewrite(saved, version=9, min_reader=3)
    words = r"needs a reader of format 3, this one is of format 2: upgrade dcpcpp"
    with pytest.raises((RuntimeError, stock.CheckpointException), match=words) as info:
        read(saved)
    assert not isinstance(info.value, dcpcpp.CheckpointCorruptedError), "it is not damaged"
    if isinstance(info.value, dcpcpp.CheckpointException):
        assert type(info.value.failures[0][0]) is RuntimeError
    # Stock torch looks at no file of ours, nor does who asks for no checks.
    state = template()
    stock.load(state, checkpoint_id=saved)
    require_equal(state, STATE)
    state = template()
    dcpcpp.load(state, storage_reader=dcpcpp.FileSystemReader(saved, verify=False))
    require_equal(state, STATE)


def test_verify_does_not_call_it_damaged(saved: Path) -> None:
    rewrite(saved, version=9, min_reader=3)
    with pytest.raises(RuntimeError, match="upgrade dcpcpp"):
        dcpcpp.verify(saved)
    command = [sys.executable, "-m", "dcpcpp", "verify", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "upgrade dcpcpp" in done.stderr


def test_a_later_checkpoint_can_be_replaced(saved: Path) -> None:
    rewrite(saved, version=9, min_reader=3)
    dcpcpp.save({"v": ramp(5)}, checkpoint_id=saved)
    require_equal(dcpcpp.load_full(saved), {"v": ramp(5)})
    names = sorted(path.name for path in saved.iterdir())
    assert names[1:] == [".metadata", "__0_1.distcp"]
    assert len(names) == 3, "the later version's sidecar is gone"


def test_what_is_no_version_is_damage(saved: Path) -> None:
    rewrite(saved, version=1, min_reader=1, appended=b"in a version that has no such field")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="sidecar"):
        load(saved)
