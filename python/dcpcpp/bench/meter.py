"""Time, CPU time and peak memory of one call."""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dcpcpp import _core
from dcpcpp._local_files import sync_directory

_LIBC = ctypes.CDLL(None, use_errno=True)
_STRETCH = 256 << 10


@dataclass
class Samples:
    """What was measured of one contestant in one measure, a value per repeat."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    extra_rss_mib: list[float] = field(default_factory=list)


def measure(call: Callable[[], float | None], samples: Samples, *, is_ours: bool) -> None:
    """Run `call` once and add what it took to `samples`.

    A call that returns a number took that many seconds by its own clock: the raw device
    touches its memory before it starts it. `is_ours`: buffers that dcpcpp kept from an
    earlier call are memory that this one uses.
    """
    _return_free_memory()
    before = _status_kib("VmRSS")
    if is_ours:
        before -= _core.kept_buffer_nbytes() // 1024
    _reset_peak()
    cpu = _cpu_seconds()
    start = time.perf_counter()
    own_seconds = call()
    samples.seconds.append(own_seconds or time.perf_counter() - start)
    samples.cpu_seconds.append(_cpu_seconds() - cpu)
    samples.extra_rss_mib.append((_status_kib("VmHWM") - before) / 1024)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status_kib(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"no {name} in /proc/self/status")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM


def _return_free_memory() -> None:
    # What an earlier contestant freed must not hide what the next one takes.
    _LIBC.malloc_trim(0)


def drop_page_cache(folder: Path) -> str:
    """Make the files of `folder` cold; returns how ("drop_caches" or "fadvise")."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        for path in _files(folder):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
        return "fadvise"
    return "drop_caches"


def warm_page_cache(folder: Path) -> None:
    """Read every file of `folder` through the page cache."""
    for path in _files(folder):
        with path.open("rb", buffering=0) as stream:
            while stream.read(1 << 24):
                pass


@contextmanager
def warm_free_memory(tmpfs: Path, nbytes: int) -> Iterator[None]:
    """Have free memory for `nbytes` on `tmpfs` that a virtual machine's host has given already.

    The host takes back what the machine has freed, in large blocks, and whoever touches that
    first waits for it. A page that is left of each small stretch keeps blocks from forming.
    """
    chunk = memoryview(bytes(_STRETCH))
    scratch = tmpfs / "scratch"
    with scratch.open("wb", buffering=0) as stream:
        for _ in range(nbytes // _STRETCH * 5 // 4):
            stream.write(chunk)
        for begin in range(0, stream.tell(), _STRETCH):
            _punch_hole(stream.fileno(), begin + resource.getpagesize(), begin + _STRETCH)
    try:
        yield
    finally:
        scratch.unlink()


def _punch_hole(descriptor: int, begin: int, end: int) -> None:
    keep_size, punch_hole = 1, 2  # linux/falloc.h
    place = (ctypes.c_int64(begin), ctypes.c_int64(end - begin))
    if _LIBC.fallocate64(descriptor, keep_size | punch_hole, *place) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return [path for path in folder.rglob("*") if path.is_file()]


def peak_mib() -> float:
    """Peak of this process's memory since `measure` began its last call (proc(5), VmHWM)."""
    return _status_kib("VmHWM") / 1024


def sync_file(file: Path) -> None:
    """Make what a file holds durable."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_names(folder: Path) -> None:
    """Make the names in `folder`, and its own, durable: what no rival does by itself."""
    for directory in (folder if folder.is_dir() else folder.parent, folder.parent):
        sync_directory(directory)
