"""What a save does to files and to the process: modes, syncs, forks."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import filesystem as torch_filesystem

import dcpcpp
from support import faults


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    directory = tmp_path / "new" / "c"
    dcpcpp.save({"w": torch.zeros(300_000)}, checkpoint_id=directory)
    files = sorted(directory.iterdir())
    assert len(files) == 3
    assert {mode_of(path) for path in files} == {0o666 & ~umask}
    assert {mode_of(directory), mode_of(directory.parent)} == {0o777 & ~umask}


class PlainFiles(torch_filesystem.FileSystem):
    """Set as `fs`, it sends all I/O through Python, where syncs can be counted."""


class OwnPlanner(dcpcpp.DefaultSavePlanner):
    pass


def with_own_file_system(path: Path) -> Any:
    writer = dcpcpp.FileSystemWriter(path)
    writer.fs = PlainFiles()
    return writer


WRITERS: dict[str, Callable[[Path], Any]] = {
    "several files": lambda path: dcpcpp.FileSystemWriter(path, thread_count=3),
    "buffered": lambda path: dcpcpp.FileSystemWriter(path, direct_io=False, io_engine="threads"),
    "zstd": lambda path: dcpcpp.FileSystemWriter(path, compression="zstd"),
    "unsynced": lambda path: dcpcpp.FileSystemWriter(path, sync_files=False),
    "a file system that was set": with_own_file_system,
    "a URL": lambda path: dcpcpp.FsspecWriter(f"file://{path}"),
    "safetensors": dcpcpp.HuggingFaceStorageWriter,
}
SAVES: dict[str, Callable[[Any], object]] = {
    "save": lambda writer: dcpcpp.save(FOR_MODES, storage_writer=writer),
    "alone": lambda writer: dcpcpp.save(FOR_MODES, storage_writer=writer, use_collectives=False),
    "torch's protocol": lambda writer: dcpcpp.save(
        FOR_MODES, storage_writer=writer, planner=OwnPlanner()
    ),
    "torch's save": lambda writer: stock.save(FOR_MODES, storage_writer=writer),
    "async_save": lambda writer: dcpcpp.async_save(FOR_MODES, storage_writer=writer).result(),
}
FOR_MODES = {"w": torch.arange(300_000.0), "v": torch.arange(7.0)}


# Torch's protocol and single ranks are for the native format.
WAYS = [(w, s) for w in WRITERS for s in SAVES if w != "safetensors" or s == "save"]


@pytest.mark.parametrize(("writer", "save"), WAYS)
def test_modes_follow_the_umask_whoever_writes_and_replaces(
    tmp_path: Path, writer: str, save: str
) -> None:
    before = os.umask(0o027)
    try:
        for _ in range(2):
            SAVES[save](WRITERS[writer](tmp_path / "new" / "c"))
    finally:
        os.umask(before)
    require_modes(tmp_path, 0o640, 0o750)


def require_modes(directory: Path, of_files: int, of_directories: int) -> None:
    there = sorted(directory.rglob("*"))
    files = {path.name: mode_of(path) for path in there if path.is_file()}
    assert len(files) >= 2
    assert set(files.values()) == {of_files}, files
    assert {mode_of(path) for path in there if path.is_dir()} == {of_directories}


def test_modes_of_conversions_and_copies_follow_the_umask(tmp_path: Path) -> None:
    dcpcpp.save(FOR_MODES, checkpoint_id=tmp_path / "c")
    made = tmp_path / "made"
    before = os.umask(0o027)
    try:
        made.mkdir()
        for _ in range(2):
            dcpcpp.convert(tmp_path / "c", made / "file.pt")
            dcpcpp.convert(tmp_path / "c", made / "hf", to="safetensors")
            dcpcpp.convert(made / "file.pt", made / "dcp")
    finally:
        os.umask(before)
    require_modes(made, 0o640, 0o750)


@pytest.mark.parametrize("sync_files", [True, False])
def test_sync_files_false_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_files: bool
) -> None:
    synced = []
    original = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fd) or original(fd))
    writer = dcpcpp.FileSystemWriter(tmp_path / "c", sync_files=sync_files)
    writer.fs = PlainFiles()
    dcpcpp.save({"w": torch.ones(3)}, storage_writer=writer)
    # The data file, the checksums and the metadata; their directory's parents, and the
    # directory before the commit and after it.
    assert len(synced) >= (3 + 2 if sync_files else 0)
    assert sync_files or not synced
    state = {"w": torch.zeros(3)}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert torch.equal(state["w"], torch.ones(3))


@pytest.mark.parametrize("sync_files", [True, False])
@pytest.mark.parametrize("direct_io", [True, False])
def test_every_way_of_writing_gives_the_same_values(
    tmp_path: Path, sync_files: bool, direct_io: bool
) -> None:
    for engine in ("auto", "threads"):
        directory = tmp_path / engine
        writer = dcpcpp.FileSystemWriter(
            directory, sync_files=sync_files, direct_io=direct_io, io_engine=engine, io_threads=3
        )
        dcpcpp.save({"w": torch.arange(3_000_001)}, storage_writer=writer)
        reader = dcpcpp.FileSystemReader(directory, direct_io=direct_io, io_engine=engine)
        state = {"w": torch.zeros(3_000_001, dtype=torch.int64)}
        dcpcpp.load(state, storage_reader=reader)
        assert torch.equal(state["w"], torch.arange(3_000_001))


FORKS = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import torch, dcpcpp
torch.set_num_threads(1)
folder = sys.argv[1]
state = {"w": torch.arange(30_000_000.0)}
dcpcpp.save(state, checkpoint_id=folder + "/before")
saves = threading.Thread(target=lambda: dcpcpp.save(state, checkpoint_id=folder + "/meanwhile"))
saves.start()
children = []
for number in range(4):  # as a DataLoader does, while a save is under way
    child = os.fork()
    if child == 0:
        code = 1
        try:
            dcpcpp.save({"n": torch.full((9,), number)}, checkpoint_id=f"{folder}/{number}")
            got = {"n": torch.zeros(9, dtype=torch.int64)}
            dcpcpp.load(got, checkpoint_id=f"{folder}/{number}")
            code = 0 if bool((got["n"] == number).all()) else 2
        finally:
            os._exit(code)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
saves.join()
got = {"w": torch.zeros(30_000_000)}
dcpcpp.load(got, checkpoint_id=folder + "/meanwhile")
print(torch.equal(got["w"], state["w"]))
"""


@pytest.mark.timeout(120)
def test_forked_children_can_save_while_the_parent_does(tmp_path: Path) -> None:
    done = faults.run_python(FORKS, tmp_path)
    assert done.stdout.splitlines() == ["[0, 0, 0, 0]", "True"], done.stderr


def test_saves_leave_no_threads_and_no_open_files(tmp_path: Path) -> None:
    def counts() -> tuple[int, int]:
        return len(list(Path("/proc/self/task").iterdir())), len(
            list(Path("/proc/self/fd").iterdir())
        )

    state = {"w": torch.ones(3_000_000)}
    dcpcpp.save(state, checkpoint_id=tmp_path / "c")
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    before = counts()
    for _ in range(5):
        dcpcpp.save(state, checkpoint_id=tmp_path / "c")
        dcpcpp.load(state, checkpoint_id=tmp_path / "c")
        with pytest.raises(dcpcpp.CheckpointException):
            dcpcpp.load({"nope": 1}, checkpoint_id=tmp_path / "c")
    deadline = time.monotonic() + 60
    while counts() != before and time.monotonic() < deadline:
        time.sleep(0.01)  # a thread is listed for a moment after it was joined
    assert counts() == before
