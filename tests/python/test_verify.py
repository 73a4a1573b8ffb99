"""verify: checkpoints that are whole, damaged, or not to be checked."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import damage, faults
from support.damage import KEYS, STATE, WRITERS, copy_of, flip_bit, place
from support.states import ramp, require_equal


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.make_originals(tmp_path_factory.mktemp("originals"))


@pytest.mark.parametrize("written_by", WRITERS)
def test_a_whole_checkpoint_has_no_damage(originals: Path, written_by: str) -> None:
    report = dcpcpp.verify(originals / written_by)
    assert report.ok
    assert report.damages == ()
    assert report.path == str(originals / written_by)
    assert report.is_ours == written_by.startswith("dcpcpp")
    assert (report.tensors, report.objects, report.files) == (3, 2, 1)
    stored = faults.read_metadata(originals / written_by)
    assert stored.storage_meta is not None
    assert report.save_id == stored.storage_meta.save_id
    assert report.nbytes >= sum(info.length for info in stored.storage_data.values())


def keys_at(directory: Path, path: Path, begin: int, end: int) -> set[str | None]:
    return {
        index.fqn
        for index, info in faults.read_metadata(directory).storage_data.items()
        if directory / info.relative_path == path
        and info.offset < end
        and info.offset + info.length > begin
    } or {None}


@pytest.mark.parametrize("written_by", ["dcpcpp", "dcpcpp zstd"])
def test_every_flipped_bit_in_any_file_of_ours_is_reported(
    originals: Path, tmp_path: Path, written_by: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    draw = random.Random(31)
    for path in sorted(directory.iterdir()):
        size = path.stat().st_size
        for _ in range(70):
            byte, bit = draw.randrange(size), draw.randrange(8)
            flip_bit(path, byte, bit)
            report = dcpcpp.verify(directory)
            flip_bit(path, byte, bit)
            assert not report.ok, (path, byte, bit)
            if path.suffix == ".distcp":
                cell = byte >> 20 << 20
                keys = {damage.key for damage in report.damages}
                assert keys == keys_at(directory, path, cell, cell + (1 << 20))
                assert all(d.path == str(path) for d in report.damages)
                assert all(d.byte_offset == cell for d in report.damages)
    assert dcpcpp.verify(directory).ok


def stock_values(directory: Path) -> dict[str, Any] | None:
    """What stock torch loads, None if it cannot."""
    state: dict[str, Any] = {
        "large": torch.zeros(700_000),
        "model": {
            "weight": torch.zeros(300, 400),
            "bias": torch.zeros(400, dtype=torch.bfloat16),
        },
        "text": "",
        "step": 0,
    }
    try:
        stock.load(state, checkpoint_id=directory)
    except BaseException:  # CheckpointException is one
        return None
    return state


@pytest.mark.parametrize("written_by", ["torch", "torch zstd"])
def test_every_flipped_bit_that_changes_what_stock_torch_loads_is_reported(
    originals: Path, tmp_path: Path, written_by: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    (path,) = directory.glob("*.distcp")
    size = path.stat().st_size
    draw = random.Random(32)
    reported = 0
    for number in range(120):
        byte, bit = draw.randrange(size if number % 2 else 5000), draw.randrange(8)
        flip_bit(path, byte, bit)
        report = dcpcpp.verify(directory)
        values = None if not report.ok else stock_values(directory)
        flip_bit(path, byte, bit)
        if report.ok:
            assert values is not None
            require_equal(values, STATE, f"byte {byte}, bit {bit}")
            continue
        reported += 1
        assert {d.key for d in report.damages} == keys_at(directory, path, byte, byte + 1)
    assert reported > 40


@pytest.mark.parametrize("written_by", WRITERS)
def test_files_that_are_cut_longer_or_gone_are_named(
    originals: Path, tmp_path: Path, written_by: str
) -> None:
    directory = copy_of(originals, written_by, tmp_path)
    (path,) = directory.glob("*.distcp")
    good = path.read_bytes()
    for bad in (b"", good[:50_000], good[:-1]):
        path.write_bytes(bad)
        report = dcpcpp.verify(directory)
        assert keys_at(directory, path, len(bad), len(good)) <= {d.key for d in report.damages}
    path.write_bytes(good + b"x")
    (damage,) = dcpcpp.verify(directory).damages
    assert (damage.key, damage.byte_offset, damage.nbytes) == (None, len(good), 1)
    path.unlink()
    report = dcpcpp.verify(directory)
    assert {d.key for d in report.damages} == KEYS
    assert {(d.path, d.byte_offset, d.message) for d in report.damages} == {
        (str(path), None, "the file is missing")
    }


def test_a_file_of_another_step_does_not_pass(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "dcpcpp", tmp_path)
    other = dict(STATE, large=ramp(700_000, start=1))
    dcpcpp.save(other, checkpoint_id=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "__0_0.distcp", directory / "__0_0.distcp")
    report = dcpcpp.verify(directory)
    assert "large" in {damage.key for damage in report.damages}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_damage(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "dcpcpp", tmp_path)
    (directory / "__0_0.distcp").chmod(0)
    report = dcpcpp.verify(directory)
    assert {d.key for d in report.damages} == KEYS
    assert "Permission denied" in report.damages[0].message


def test_golden_checkpoints_of_all_torch_versions_are_whole(golden: Path) -> None:
    checked = 0
    for path in golden.glob("torch-*/*/expected.json"):
        if path.parent.name == "many_keys" or "torch-1.12" in str(path):
            continue  # without data, and a format that nobody reads any more
        report = dcpcpp.verify(path.parent)
        assert report.ok, report.damages
        assert not report.is_ours
        checked += 1
    assert checked > 30


def test_urls_are_verified_through_fsspec(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "dcpcpp", tmp_path)
    url = f"file://{directory}"
    assert dcpcpp.verify(url).ok
    path, offset, length = place(directory, "large")
    flip_bit(path, offset + length // 2, 1)
    damage = dcpcpp.verify(url).damages[0]
    assert damage.path == str(path)
    assert str(damage).startswith(f"{path} [offset={damage.byte_offset} B, n=1048576 B] large: ")


def test_without_a_checkpoint_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        dcpcpp.verify(tmp_path)
    with pytest.raises(FileNotFoundError, match="nosuch"):
        dcpcpp.verify(tmp_path / "nosuch")
