"""A save that fails says why, cleans up, and leaves the checkpoint that was there whole."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpcpp
from support import faults

MIB = 1 << 20
OLD = {"w": torch.arange(1000.0)}


def big_state(nbytes: int) -> dict[str, Any]:
    torch.manual_seed(0)
    return {"big": {"w": torch.randint(256, (nbytes,), dtype=torch.uint8)}, "step": 2}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A checkpoint that must survive."""
    dcpcpp.save(OLD, checkpoint_id=tmp_path / "c")
    return tmp_path / "c"


def assert_old_is_whole(directory: Path, before: dict[str, bytes]) -> None:
    assert faults.content(directory) == before
    state = {"w": torch.zeros(1000)}
    dcpcpp.load(state, checkpoint_id=directory)
    assert torch.equal(state["w"], OLD["w"])


def failure(error: dcpcpp.CheckpointException) -> BaseException:
    assert list(error.failures) == [0]
    return error.failures[0][0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    if not faults.can_mount(tmp_path):
        pytest.skip("NO FULL DISK TESTED: this needs the right to mount a tmpfs (root)")
    with faults.small_disk(tmp_path / "disk", 8 * MIB) as directory:
        yield directory


def test_a_save_that_cannot_fit_is_refused_before_a_byte_is_written(small_disk: Path) -> None:
    directory = small_disk / "c"
    dcpcpp.save(OLD, checkpoint_id=directory)
    before = faults.content(directory)
    state = big_state(9 * MIB)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.save(state, checkpoint_id=directory)
    cause = failure(info.value)
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC
    assert cause.filename == str(directory)
    with pytest.raises(OSError, match=r"the checkpoint needs 94\d\d\d\d\d bytes, \d+ are free"):
        raise cause
    assert info.value.args[0] == "plan"
    assert_old_is_whole(directory, before)


class OwnPlanner(dcpcpp.DefaultSavePlanner):
    pass


@pytest.mark.parametrize("thread_count", [1, 3])
def test_torchs_protocol_looks_for_the_space_too(small_disk: Path, thread_count: int) -> None:
    directory = small_disk / "c"
    dcpcpp.save(OLD, checkpoint_id=directory)
    before = faults.content(directory)
    state = {**big_state(5 * MIB), **{str(i): torch.zeros(MIB // 4) for i in range(4)}}
    writer = dcpcpp.FileSystemWriter(directory, thread_count=thread_count)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.save(state, storage_writer=writer, planner=OwnPlanner())
    cause = failure(info.value)
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC
    assert cause.filename == str(directory)
    with pytest.raises(OSError, match=r"the checkpoint needs 94\d\d\d\d\d bytes, \d+ are free"):
        raise cause
    assert_old_is_whole(directory, before)


def test_the_space_of_the_checkpoint_to_be_replaced_does_not_count_as_free(
    small_disk: Path,
) -> None:
    """The old one is only removed after the commit."""
    directory = small_disk / "c"
    dcpcpp.save(big_state(5 * MIB), checkpoint_id=directory)
    before = faults.content(directory)
    with pytest.raises(dcpcpp.CheckpointException, match="are free"):
        dcpcpp.save(big_state(5 * MIB), checkpoint_id=directory)
    assert faults.content(directory) == before


def test_a_disk_that_fills_up_during_the_save_leaves_the_old_checkpoint(small_disk: Path) -> None:
    """Compressed sizes are not known before, so nothing stops this one early."""
    directory = small_disk / "c"
    dcpcpp.save(OLD, checkpoint_id=directory)
    before = faults.content(directory)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.save(big_state(12 * MIB), checkpoint_id=directory, compression="zstd")
    cause = failure(info.value)
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC
    assert cause.filename == str(directory / "__0_1.distcp")
    assert info.value.args[0] == "write"
    assert_old_is_whole(directory, before)


LIMITED = """
import resource, signal, sys, warnings
warnings.simplefilter("ignore")
import torch, dcpcpp
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
state = {"big": {"w": torch.zeros(12 << 20, dtype=torch.uint8)}, "step": 2}
resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))
for engine in ("io_uring", "threads"):
    for direct in (True, False):
        writer = dcpcpp.FileSystemWriter(sys.argv[1], io_engine=engine, direct_io=direct)
        try:
            dcpcpp.save(state, storage_writer=writer)
        except dcpcpp.CheckpointException as error:
            cause = error.failures[0][0]
            print(type(cause).__name__, cause.errno, cause.filename)
"""


def test_a_write_that_the_kernel_refuses_leaves_the_old_checkpoint(old: Path) -> None:
    before = faults.content(old)
    done = faults.run_python(LIMITED, old)
    # With each engine, with and without direct I/O.
    expected = ["OSError", str(errno.EFBIG), str(old / "__0_1.distcp")] * 4
    assert done.stdout.split() == expected, done.stderr
    assert_old_is_whole(old, before)


def test_an_object_that_cannot_be_pickled_leaves_the_old_checkpoint(old: Path) -> None:
    before = faults.content(old)
    with pytest.raises(dcpcpp.CheckpointException, match="pickle"):
        dcpcpp.save({"w": torch.zeros(9), "f": lambda: 1}, checkpoint_id=old)
    assert_old_is_whole(old, before)


AS_NOBODY = """
import os, sys, warnings
warnings.simplefilter("ignore")
import torch, dcpcpp
from torch.distributed.checkpoint import filesystem  # imports need root's files
dcpcpp.save; dcpcpp.FileSystemWriter; dcpcpp.open
os.setgid(65534)
os.setuid(65534)
try:
    if sys.argv[2] == "save":
        dcpcpp.save({"w": torch.zeros(5)}, checkpoint_id=sys.argv[1])
    else:
        dcpcpp.load({"w": torch.zeros(1000)}, checkpoint_id=sys.argv[1])
except dcpcpp.CheckpointException as error:
    cause = error.failures[0][0]
    print(type(cause).__name__, cause.errno, cause.filename)
else:
    print("done")
"""


def as_nobody(verb: str, directory: Path) -> list[str]:
    done = faults.run_python(AS_NOBODY, directory, verb)
    assert done.stdout, done.stderr
    return done.stdout.split()


@pytest.fixture
def seen_by_all() -> Iterator[Path]:
    """As `old`, but not in pytest's own directory, which is closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        dcpcpp.save(OLD, checkpoint_id=Path(folder) / "c")
        yield Path(folder) / "c"


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NO PERMISSIONS TESTED: this needs root, to become somebody else"
)


@needs_root
def test_a_directory_without_write_permission_is_a_permission_error(seen_by_all: Path) -> None:
    before = faults.content(seen_by_all)
    assert as_nobody("save", seen_by_all) == [
        "PermissionError",
        str(errno.EACCES),
        str(seen_by_all / ".dcpcpp.lock"),
    ]
    assert_old_is_whole(seen_by_all, before)


@needs_root
def test_a_parent_without_write_permission_is_a_permission_error(seen_by_all: Path) -> None:
    told = as_nobody("save", seen_by_all.parent / "new")
    assert told == ["PermissionError", str(errno.EACCES), str(seen_by_all.parent / "new")]


@needs_root
@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_file_without_read_permission_is_a_permission_error(seen_by_all: Path, name: str) -> None:
    (seen_by_all / name).chmod(0o600)
    assert as_nobody("load", seen_by_all) == [
        "PermissionError",
        str(errno.EACCES),
        str(seen_by_all / name),
    ]


@needs_root
def test_reading_needs_no_write_permission(seen_by_all: Path) -> None:
    assert as_nobody("load", seen_by_all) == ["done"]


def test_a_read_only_file_system_is_named(small_disk: Path) -> None:
    directory = small_disk / "c"
    dcpcpp.save(OLD, checkpoint_id=directory)
    before = faults.content(directory)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, capture_output=True)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.save({"w": torch.zeros(3)}, checkpoint_id=directory)
    cause = failure(info.value)
    assert isinstance(cause, OSError)
    assert cause.errno == errno.EROFS
    assert_old_is_whole(directory, before)


def test_what_a_killed_save_left_does_not_disturb_the_next_ones(old: Path) -> None:
    (old / "__0_7.distcp").write_bytes(b"half a file")
    (old / ".dcpcpp-0123.tmp").write_bytes(b"half")
    for value in (1.0, 2.0):
        dcpcpp.save({"w": torch.full((1000,), value)}, checkpoint_id=old)
        state = {"w": torch.zeros(1000)}
        dcpcpp.load(state, checkpoint_id=old)
        assert torch.equal(state["w"], torch.full((1000,), value))


@pytest.mark.parametrize(("make", "error"), [(Path.mkdir, IsADirectoryError), (os.mkfifo, OSError)])
def test_what_is_no_file_and_has_the_name_of_metadata_is_named_and_left(
    tmp_path: Path, make: Any, error: type[OSError]
) -> None:
    make(tmp_path / ".metadata")
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.save(OLD, checkpoint_id=tmp_path)
    assert isinstance(failure(info.value), error)
    assert failure(info.value).filename == str(tmp_path / ".metadata")  # type: ignore[attr-defined]
    assert "old or the new" not in str(info.value)
    assert [path.name for path in tmp_path.iterdir()] == [".metadata"]
    with pytest.raises(dcpcpp.CheckpointException, match=r"\.metadata"):
        dcpcpp.load(dict(OLD), checkpoint_id=tmp_path)
