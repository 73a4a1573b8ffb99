"""FsspecWriter and FsspecReader: PyTorch DCP's format at `scheme://` paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import _fsspec_filesystem as torch_fsspec

from dcpcpp import _core
from dcpcpp._io_options import MIB, core_file_system, make_io_options, supported
from dcpcpp._native_reader import NativeReader
from dcpcpp._native_writer import NativeWriter

# Not looked up when they are needed: `patch_torch` puts ours in their place.
_TORCHS_WRITER = torch_fsspec.FsspecWriter.__init__
_TORCHS_READER = torch_fsspec.FsspecReader.__init__


class FsspecWriter(NativeWriter, torch_fsspec.FsspecWriter):
    """Writes a checkpoint through fsspec, e.g. to "s3://bucket/ckpt/7".

    Mirrors `torch.distributed.checkpoint._fsspec_filesystem.FsspecWriter` (2.13). Unlike
    it, nothing is renamed: `.metadata` is written last, under its own name.

    Args:
        path: URL of the checkpoint.
        kwargs: for fsspec, e.g. `key=`, `endpoint_url=`; see `dcpcpp.FileSystemWriter`
            for the others.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        single_file_per_rank: bool = True,
        sync_files: bool = True,
        thread_count: int = 1,
        per_thread_copy_ahead: int = 10_000_000,
        overwrite: bool = True,
        _extensions: Sequence[Any] | None = None,
        serialization_format: Any = None,
        *,
        compression: str | None = None,
        export_dtype: torch.dtype | None = None,
        max_buffer_bytes: int = 128 * MIB,
        max_write_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "single_file_per_rank": single_file_per_rank,
            "sync_files": sync_files,
            "thread_count": thread_count,
            "per_thread_copy_ahead": per_thread_copy_ahead,
            "overwrite": overwrite,
            "_extensions": _extensions,
        }
        super().__init__(path, **supported(_TORCHS_WRITER, arguments), **kwargs)
        options = make_io_options("threads", False, 1, max_buffer_bytes, max_write_rate)
        self._init_native(compression, export_dtype, serialization_format, options)


class FsspecReader(NativeReader, torch_fsspec.FsspecReader):
    """Reads a checkpoint through fsspec.

    Mirrors `torch.distributed.checkpoint._fsspec_filesystem.FsspecReader` (2.13). Unlike it,
    reads directories of safetensors files, too.

    Args:
        path: URL of the checkpoint.
        verify: check all that is read against its checksum.
        max_buffer_bytes: bound of the memory that a load adds.
        kwargs: for fsspec.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verify: bool = True,
        max_buffer_bytes: int = 128 * MIB,
        **kwargs: Any,
    ) -> None:
        super().__init__(path, **kwargs)
        self._init_native(verify, make_io_options("threads", False, 0, max_buffer_bytes))

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        return _core.make_reader_by_content(options, core_file_system(self.fs, 0))
