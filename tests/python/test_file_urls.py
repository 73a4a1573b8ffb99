"""`file://` URLs: the same checkpoints, as durable, and readers with options of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.sync_log import sync_log

STATE: dict[str, Any] = {"w": torch.arange(700_000.0).reshape(700, 1000), "step": 7}


def assert_loaded(state: dict[str, Any]) -> None:
    assert torch.equal(state["w"], STATE["w"])
    assert state["step"] == 7


def test_open_and_load_full_take_a_reader_with_its_options(tmp_path: Path) -> None:
    dcpcpp.save(STATE, checkpoint_id=f"file://{tmp_path}/c")
    for reader in (
        dcpcpp.FsspecReader(f"file://{tmp_path}/c", auto_mkdir=False),
        dcpcpp.FileSystemReader(tmp_path / "c", verify=False),
        stock.FileSystemReader(tmp_path / "c"),
    ):
        assert torch.equal(dcpcpp.open(storage_reader=reader).get("w"), STATE["w"])
        state = dcpcpp.load_full(storage_reader=reader)
        assert_loaded(state)

    class Own(stock.FileSystemReader):
        pass

    with pytest.raises(ValueError, match="open reads dcpcpp's own storages, not Own"):
        dcpcpp.open(storage_reader=Own(tmp_path / "c"))
    with pytest.raises(RuntimeError, match="`checkpoint_id` must be specified"):
        dcpcpp.open()


def test_file_urls_are_synced_before_the_commit_and_after(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save = f"dcpcpp.save(state, checkpoint_id='file://{path}')"
    log = sync_log(
        f"import torch, dcpcpp; state = {{'w': torch.ones(3), 'step': 7}}; {save}", tmp_path
    )
    commit = log.index(("rename", path / ".metadata"))
    (sidecar,) = path.glob(".dcpcpp-*")
    for file in (path / "__0_0.distcp", sidecar, path / f"{sidecar.name}.tmp", path):
        assert ("sync", file) in log[:commit]
    assert ("sync", path) in log[commit:]


def test_file_urls_work(tmp_path: Path) -> None:
    for state in ({"w": torch.zeros(3)}, STATE):
        dcpcpp.save(state, checkpoint_id=f"file://{tmp_path}/c")
    assert not list((tmp_path / "c").glob("*.tmp"))
    state = {"w": torch.zeros(700, 1000), "step": 0}
    dcpcpp.load(state, checkpoint_id=str(tmp_path / "c"))
    assert_loaded(state)
