"""Whether a checkpoint holds the tensors that its metadata claims, before memory is taken."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp import _core
from dcpcpp._decoded import Box
from dcpcpp._native_reader import NativeReader
from dcpcpp._tensors import Entry, EntryMaker, dtype_of_code
from dcpcpp.errors import CheckpointCorruptedError

# What a call may take unproven: to look for the size of the files costs more.
_FREE_NBYTES = 64 << 20


class Claims:
    """Of one opened checkpoint.

    Args:
        core: the checkpoint.
        reader: where it lies.
        file: its metadata, for errors.
    """

    def __init__(self, core: _core.Checkpoint, reader: NativeReader, file: str) -> None:
        self._core = core
        self._reader = reader
        self._file = file

    def require(self, wanted: Iterable[tuple[str, Box | None]]) -> None:
        """Return if the stored chunks hold what is wanted.

        What is larger than all files together may still be there, compressed say: of each
        of its chunks one element is read, which shows how large the chunk is.

        Args:
            wanted: keys of tensors, and which part of each; None for all of it.

        Raises:
            CheckpointCorruptedError: elements are in no chunk, or a chunk is not there, or
                smaller than the metadata says.
        """
        sizes: list[tuple[int, str, Box]] = []
        for key, box in wanted:
            _, shape, code, _, chunks = self._core.metadata.describe(key)
            offsets, lengths = box or ((0,) * len(shape), shape)
            numel = math.prod(lengths)
            held = sum(_common_numel((offsets, lengths), chunk) for chunk in chunks)
            if held < numel:
                raise CheckpointCorruptedError(
                    f"the stored chunks of {key} hold {held} of the {numel} elements of "
                    f"[offsets={list(offsets)}, sizes={list(lengths)}] of its shape "
                    f"{list(shape)}, file {self._file}",
                    self._file,
                    key=key,
                )
            sizes.append((numel * dtype_of_code(code).itemsize, key, (offsets, lengths)))
        if sum(nbytes for nbytes, _, _ in sizes) > _FREE_NBYTES:
            stored = _nbytes_of_files(self._reader)
            for nbytes, key, part in sizes:
                if stored is not None and nbytes > stored:
                    self._read_some(key, part)

    def _read_some(self, key: str, part: Box) -> None:
        """Read an element of every chunk of a part of a tensor."""
        _, shape, code, _, chunks = self._core.metadata.describe(key)
        maker = EntryMaker()
        entries: list[Entry] = []
        for chunk in chunks:
            if _common_numel(part, chunk):
                element = torch.empty([1] * len(shape), dtype=dtype_of_code(code), device="cpu")
                offsets = tuple(map(max, part[0], chunk[0]))
                entries.append((key, *maker.destination(key, element), shape, offsets))
        self._core.read(_core.LoadEntries(entries))


def _common_numel(box: Box, other: Box) -> int:
    """How many elements are in both."""
    dims = zip(*box, *other, strict=True)
    return math.prod(max(0, min(a + n, b + m) - max(a, b)) for a, n, b, m in dims)


def _nbytes_of_files(reader: NativeReader) -> int | None:
    """Of all files in the checkpoint's directory; None where nobody tells."""
    file_system = getattr(reader, "fs", None)
    try:
        if type(file_system) is torch_filesystem.FileSystem:
            return sum(
                (Path(place) / name).stat().st_size
                for place, _, names in os.walk(str(reader.path))
                for name in names
            )
        inner: Any = getattr(file_system, "fs", None)
        return None if inner is None else int(inner.du(str(reader.path)))
    except Exception:  # of anybody's file system; the read will meet it
        return None
