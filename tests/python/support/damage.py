"""Checkpoints to damage, and ways to do it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.states import ramp

STATE: dict[str, Any] = {
    "large": ramp(700_000),
    "model": {"weight": ramp(300, 400), "bias": ramp(400, dtype=torch.bfloat16)},
    "text": "x" * 2_000_000,
    "step": 7,
}
KEYS = {"large", "model.weight", "model.bias", "text", "step"}
WRITERS = ["dcpcpp", "torch", "dcpcpp zstd", "torch zstd"]


def make_originals(directory: Path) -> Path:
    """STATE as each of WRITERS saves it, in a directory of that name."""
    dcpcpp.save(STATE, checkpoint_id=directory / "dcpcpp")
    writer = dcpcpp.FileSystemWriter(directory / "dcpcpp zstd", compression="zstd")
    dcpcpp.save(STATE, storage_writer=writer)
    stock.save(STATE, checkpoint_id=directory / "torch")
    extension = dcpcpp.ZStandard()
    stock.save(
        STATE,
        storage_writer=stock.FileSystemWriter(directory / "torch zstd", _extensions=[extension]),
    )
    return directory


def copy_of(originals: Path, name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / name, tmp_path / "copy"))


def place(directory: Path, key: str) -> tuple[Path, int, int]:
    """File, offset and length of an item."""
    storage_data = faults.read_metadata(directory).storage_data
    info = next(info for index, info in storage_data.items() if index.fqn == key)
    return directory / info.relative_path, info.offset, info.length


def flip_bit(path: Path, byte: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 1 << bit]))
