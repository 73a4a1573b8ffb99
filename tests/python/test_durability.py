"""Durable by default: what Python's calls sync, in which order, by the system calls made."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sync_log import sync_log

SAVES = {
    "save": "dcpcpp.save(state, checkpoint_id=path)",
    "save, several files": "dcpcpp.save(state, storage_writer=dcpcpp.FileSystemWriter(path, "
    "thread_count=3))",
    "save, zstd": 'dcpcpp.save(state, checkpoint_id=path, compression="zstd")',
    "async_save": "dcpcpp.async_save(state, checkpoint_id=path).result()",
    "torch's protocol": """
class Planner(dcpcpp.DefaultSavePlanner):
    pass
dcpcpp.save(state, checkpoint_id=path, planner=Planner())""",
    "a file system that was set": """
class Own(torch.distributed.checkpoint.filesystem.FileSystem):
    pass
writer = dcpcpp.FileSystemWriter(path)
writer.fs = Own()
dcpcpp.save(state, storage_writer=writer)""",
}

PROGRAM = """
import torch, torch.distributed.checkpoint, dcpcpp
path = {path!r}
state = {{"large": torch.zeros(3_000_000), "small": torch.zeros(3), "step": 7}}
{save}
"""


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_everything_is_synced_in_order_before_a_save_returns(tmp_path: Path, save: str) -> None:
    path = tmp_path / "run" / "step-1"
    log = sync_log(PROGRAM.format(path=str(path), save=save), tmp_path)
    assert log.count(("rename", path / ".metadata")) == 1
    commit = log.index(("rename", path / ".metadata"))
    before = [where for what, where in log[:commit] if what == "sync"]
    after = [where for what, where in log[commit:] if what == "sync"]
    data = sorted(path.glob("__0_*.distcp"))
    assert data
    (sidecar,) = path.glob(".dcpcpp-*")
    temporary = path / f"{sidecar.name}.tmp"
    for file in (*data, sidecar, temporary):
        assert file in before
        assert file not in after
    # Their names, when all are there; those of the new directories; the name of the commit.
    assert before[-1] == path
    assert {path.parent, tmp_path} <= set(before)
    assert path in after


def test_sync_files_false_syncs_nothing_natively(tmp_path: Path) -> None:
    path = tmp_path / "run" / "step-1"
    save = (
        "dcpcpp.save(state, storage_writer=dcpcpp.FileSystemWriter(path, sync_files=False))\n"
        "dcpcpp.async_save(state, storage_writer=dcpcpp.FileSystemWriter(path + '0', "
        "sync_files=False)).result()"
    )
    log = sync_log(PROGRAM.format(path=str(path), save=save), tmp_path)
    assert log == [
        ("rename", path / ".metadata"),
        ("rename", path.with_name("step-10") / ".metadata"),
    ]
