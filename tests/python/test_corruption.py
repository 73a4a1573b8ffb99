"""Damage to stored bytes: found by default, and named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.damage import copy_of, place

STATE: dict[str, Any] = {
    "first": torch.arange(400_000, dtype=torch.float32),
    "model": {"weight": torch.arange(1_000_000, dtype=torch.float32)},
    "small": torch.arange(5),
    "step": 7,
}
FLAT = {
    "first": STATE["first"],
    "model.weight": STATE["model"]["weight"],
    "small": STATE["small"],
    "step": 7,
}


def template() -> dict[str, Any]:
    return {
        "first": torch.zeros(400_000),
        "model": {"weight": torch.zeros(1_000_000)},
        "small": torch.zeros(5, dtype=torch.int64),
        "step": 0,
    }


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("originals")
    dcpcpp.save(STATE, checkpoint_id=directory / "dcpcpp")
    stock.save(STATE, checkpoint_id=directory / "torch.distributed.checkpoint")
    writer = dcpcpp.FileSystemWriter(directory / "zstd", compression="zstd")
    dcpcpp.save(STATE, storage_writer=writer)
    return directory


def load(directory: Path, *, verify: bool = True) -> dict[str, Any]:
    state = template()
    dcpcpp.load(state, storage_reader=dcpcpp.FileSystemReader(directory, verify=verify))
    return state


WRITERS = ["dcpcpp", "torch.distributed.checkpoint", "zstd"]


@pytest.mark.parametrize("written_by", WRITERS)
@pytest.mark.parametrize("key", list(FLAT))
def test_a_flipped_bit_is_reported_with_tensor_file_and_offset(
    originals: Path, tmp_path: Path, written_by: str, key: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    path, offset, length = place(directory, key)
    flipped = offset + length // 2
    faults.flip_byte(path, flipped)
    with pytest.raises(dcpcpp.CheckpointCorruptedError) as info:
        load(directory)
    error = info.value
    assert isinstance(error, dcpcpp.CheckpointException)
    assert error.path is not None
    assert Path(error.path).name == path.name
    assert path.name in str(error)
    assert error.byte_offset is not None
    assert error.nbytes is not None
    assert error.byte_offset <= flipped < error.byte_offset + error.nbytes
    assert error.key is not None
    assert error.key in str(error)
    if written_by == "torch.distributed.checkpoint":
        assert error.key == key
    else:  # a checksum covers a mebibyte, in which several small items may lie
        _, begin, length = place(directory, error.key)
        assert begin < error.byte_offset + error.nbytes
        assert error.byte_offset < begin + length
        assert error.key == key or "that share the range" in str(error)
    (cause, _) = error.failures[0]
    assert type(cause) is dcpcpp.CheckpointCorruptedError


@pytest.mark.parametrize("written_by", ["dcpcpp", "torch.distributed.checkpoint"])
def test_without_verification_the_bytes_are_read_as_they_are(
    originals: Path, tmp_path: Path, written_by: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    path, offset, length = place(directory, "model.weight")
    faults.flip_byte(path, offset + length // 2)
    loaded = load(directory, verify=False)
    assert torch.equal(loaded["first"], STATE["first"])
    wrong = loaded["model"]["weight"] != STATE["model"]["weight"]
    assert int(wrong.sum()) == 1


def is_noticed(directory: Path, damaged: str, offset: int) -> bool:
    """Whether a load raises; if it does not, what it loads must be right."""
    # A flip in a name or a shape may make metadata that asks for other things.
    kind = dcpcpp.CheckpointException if damaged == ".metadata" else dcpcpp.CheckpointCorruptedError
    try:
        loaded = load(directory)
    except kind:
        return True
    weight = loaded.pop("model")["weight"]
    unharmed = faults.same(loaded | {"model.weight": weight}, FLAT)
    assert unharmed, f"flip of byte {offset} of {damaged} unnoticed"
    return False


@pytest.mark.parametrize("written_by", WRITERS)
def test_no_flip_anywhere_changes_a_value_unnoticed(
    originals: Path, tmp_path: Path, written_by: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    chance = random.Random(2026)
    names = sorted(path.name for path in directory.iterdir())
    noticed = 0
    for number in range(60):
        path = directory / names[number % len(names)]
        intact = path.read_bytes()
        # Mostly near the ends, where headers and trailers lie.
        near = min(4096, len(intact))
        begin = chance.choice([0, len(intact) - near, chance.randrange(len(intact))])
        offset = min(begin + chance.randrange(near), len(intact) - 1)
        faults.flip_byte(path, offset)
        if is_noticed(directory, path.name, offset):
            noticed += 1
        path.write_bytes(intact)
    assert noticed > 20
    load(directory)


@pytest.mark.parametrize("written_by", WRITERS)
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_cut_data_file_is_corruption(
    originals: Path, tmp_path: Path, written_by: str, keep: float
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    path, _, _ = place(directory, "model.weight")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=path.name):
        load(directory)


@pytest.mark.parametrize("written_by", ["dcpcpp", "torch.distributed.checkpoint"])
def test_a_missing_data_file_is_named(originals: Path, tmp_path: Path, written_by: str) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    path, _, _ = place(directory, "model.weight")
    path.unlink()
    with pytest.raises(dcpcpp.CheckpointException) as info:
        load(directory)
    cause = info.value.failures[0][0]
    assert isinstance(cause, FileNotFoundError)
    assert path.name in str(cause)


def test_a_missing_checksum_file_is_corruption_unless_nothing_is_checked(
    originals: Path, tmp_path: Path
) -> None:
    directory = copy_of(originals, "dcpcpp", tmp_path)
    (sidecar,) = directory.glob(".dcpcpp-*")
    sidecar.unlink()
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="checksums is missing"):
        load(directory)
    assert torch.equal(load(directory, verify=False)["first"], STATE["first"])


def test_a_data_file_of_another_save_is_corruption(tmp_path: Path) -> None:
    """Same names, same sizes: only checksums tell the steps apart."""
    for step in (1, 2):
        state = {"w": torch.full((300_000,), float(step))}
        dcpcpp.save(state, checkpoint_id=tmp_path / str(step))
    shutil.copy(tmp_path / "1" / "__0_0.distcp", tmp_path / "2")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"__0_0\.distcp"):
        dcpcpp.load({"w": torch.zeros(300_000)}, checkpoint_id=tmp_path / "2")


def test_metadata_of_another_save_is_corruption(tmp_path: Path) -> None:
    for step in (1, 2):
        dcpcpp.save({"w": torch.full((9,), float(step))}, checkpoint_id=tmp_path / str(step))
    shutil.copy(tmp_path / "1" / ".metadata", tmp_path / "2")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="checksums is missing"):
        dcpcpp.load({"w": torch.zeros(9)}, checkpoint_id=tmp_path / "2")


@pytest.mark.parametrize("written_by", ["dcpcpp", "torch.distributed.checkpoint"])
def test_open_checks_what_it_reads(originals: Path, tmp_path: Path, written_by: str) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    path, offset, length = place(directory, "model.weight")
    faults.flip_byte(path, offset + length // 2)
    checkpoint = dcpcpp.open(directory)
    assert torch.equal(checkpoint["small"], STATE["small"])
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"key model\.weight"):
        checkpoint.get("model.weight")
    assert dcpcpp.open(directory, verify=False).get("model.weight").shape == (1_000_000,)


def save_and_load_in_stock(module: ModuleType, directory: Path) -> None:
    stock.load(template(), storage_reader=module.FileSystemReader(directory))


def test_our_reader_checks_inside_stock_torch_too(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "torch.distributed.checkpoint", tmp_path)
    path, offset, length = place(directory, "model.weight")
    faults.flip_byte(path, offset + length // 2)
    save_and_load_in_stock(stock, directory)  # stock torch sees nothing
    with pytest.raises(stock.CheckpointException, match="CheckpointCorruptedError"):
        save_and_load_in_stock(dcpcpp, directory)
