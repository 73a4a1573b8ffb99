"""The raw device: as many bytes through plain I/O, with dcpcpp's block and depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dcpcpp import _core

_BLOCK, _DEPTH = 4 << 20, 32  # as the library has in flight with two workers and 128 MiB


def raw_write(
    path: Path,
    nbytes: int,
    *,
    direct: bool,
    files: int = 1,
    before_start: Callable[[], None] | None = None,
) -> float:
    """Seconds for writing `nbytes` to new files in the directory `path`.

    Only whole blocks are moved; the time of the rest is put in at the same rate.
    `before_start` is called when the memory is there, before the clock starts.
    """
    seconds, moved = _core.raw_write(str(path), nbytes, files, _BLOCK, _DEPTH, direct, before_start)
    return seconds * nbytes / moved


def raw_read(path: Path, names: Sequence[str], nbytes: int, *, direct: bool) -> float:
    """Seconds for reading `nbytes` of the files `names` in the directory `path`.

    As much is read of each file; the time of the rest is put in at the same rate.
    """
    even = min((path / name).stat().st_size for name in names) * len(names)
    seconds, moved = _core.raw_read(
        str(path), list(names), min(nbytes, even), _BLOCK, _DEPTH, direct
    )
    return seconds * nbytes / moved


__all__ = ["raw_read", "raw_write"]
