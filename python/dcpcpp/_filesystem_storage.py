"""Writers and readers of PyTorch DCP's own format, under torch's names.

Each class derives from torch's class of the same name, and works in stock
`torch.distributed.checkpoint.save(storage_writer=...)` as well as in `dcpcpp.save`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp._io_options import MIB, has_own_extensions, make_io_options, supported
from dcpcpp._native_reader import NativeReader
from dcpcpp._native_writer import NativeWriter

__all__ = ["FileSystemReader", "FileSystemWriter"]


# Not looked up when they are needed: `patch_torch` puts ours in their place.
_TORCHS_WRITER = torch_filesystem.FileSystemWriter.__init__
_TORCHS_READER = torch_filesystem.FileSystemReader.__init__


class FileSystemWriter(NativeWriter, torch_filesystem.FileSystemWriter):
    """Writes a checkpoint to a directory in PyTorch DCP's format.

    Mirrors `torch.distributed.checkpoint.FileSystemWriter` (2.13). Unlike it, an
    overwrite leaves the old or the new checkpoint at every moment, data and names are
    durable when the save returns, and every byte has a checksum.

    Args:
        path: directory of the checkpoint; created if absent.
        single_file_per_rank: one file per item if False.
        sync_files: make files and names durable before the save returns.
        thread_count: files per rank. I/O is parallel whatever it is.
        per_thread_copy_ahead: accepted; libdcp bounds its buffers by `max_buffer_bytes`.
        cache_staged_state_dict: as in torch, for its own asynchronous saves.
        overwrite: replace a checkpoint that is there; otherwise a RuntimeError.
        _extensions: torch's stream extensions; `[ZStandard()]` compresses.
        serialization_format: TORCH_SAVE only.
        compression: None or "zstd"; the plain way to say `_extensions=[ZStandard()]`.
        export_dtype: store floating-point tensors in this dtype; the state in memory
            stays as it is.
        io_engine: "auto", "io_uring" or "threads".
        direct_io: bypass the page cache where the file system can.
        io_threads: threads that copy and checksum; 0 takes this rank's share of cores, in
            asynchronous saves one less, so that the training has one to itself.
        max_buffer_bytes: bound of the memory that a save adds. Compression adds what zstd takes:
            with two threads about 110 MiB.
        max_write_rate: bytes per second that this rank writes at most, so that others get
            their share of the disk; None: as fast as it takes them.
        io_nice: niceness, 0 to 19, of the threads that checksum, compress and write: the
            higher, the more they give way to others on the same cores.
        io_cpus: numbers of the processors that these threads may use; None: all that the
            process may use.

    Example:
        >>> dcpcpp.save(state, storage_writer=dcpcpp.FileSystemWriter("/ckpt/7", overwrite=False))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        single_file_per_rank: bool = True,
        sync_files: bool = True,
        thread_count: int = 1,
        per_thread_copy_ahead: int = 10_000_000,
        cache_staged_state_dict: bool = False,
        overwrite: bool = True,
        _extensions: Sequence[Any] | None = None,
        serialization_format: Any = None,
        *,
        compression: str | None = None,
        export_dtype: torch.dtype | None = None,
        io_engine: str = "auto",
        direct_io: bool = True,
        io_threads: int = 0,
        max_buffer_bytes: int = 128 * MIB,
        max_write_rate: float | None = None,
        io_nice: int = 0,
        io_cpus: Collection[int] | None = None,
    ) -> None:
        arguments = {
            "single_file_per_rank": single_file_per_rank,
            "sync_files": sync_files,
            "thread_count": thread_count,
            "per_thread_copy_ahead": per_thread_copy_ahead,
            "cache_staged_state_dict": cache_staged_state_dict,
            "overwrite": overwrite,
            "_extensions": _extensions,
        }
        super().__init__(path, **supported(_TORCHS_WRITER, arguments))
        options = make_io_options(
            io_engine, direct_io, io_threads, max_buffer_bytes, max_write_rate, io_nice, io_cpus
        )
        self._init_native(compression, export_dtype, serialization_format, options)


class FileSystemReader(NativeReader, torch_filesystem.FileSystemReader):
    """Reads a checkpoint directory in PyTorch DCP's format.

    Mirrors `torch.distributed.checkpoint.FileSystemReader` (2.13). Unlike it, reading
    metadata runs no code, only the bytes that are needed are read, and they are checked.

    Args:
        path: directory of the checkpoint.
        _extension_registry: torch's; libdcp decodes ZStandard by itself. With extensions of
            others, which only torch can decode, a NotImplementedError: pass torch's own
            reader to `dcpcpp.load` then.
        verify: check all that is read against its checksum.
        io_engine: "auto", "io_uring" or "threads".
        direct_io: bypass the page cache for what is not in it.
        io_threads: threads that copy and checksum; 0 takes this rank's share of cores.
        max_buffer_bytes: bound of the memory that a load adds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        _extension_registry: Any = None,
        *,
        verify: bool = True,
        io_engine: str = "auto",
        direct_io: bool = True,
        io_threads: int = 0,
        max_buffer_bytes: int = 128 * MIB,
    ) -> None:
        if has_own_extensions(_extension_registry):
            raise NotImplementedError(
                "dcpcpp's reader decodes no stream extensions but ZStandard; pass torch's "
                "FileSystemReader to dcpcpp.load, which then decodes them by torch's protocol"
            )
        super().__init__(
            path, **supported(_TORCHS_READER, {"_extension_registry": _extension_registry})
        )
        options = make_io_options(io_engine, direct_io, io_threads, max_buffer_bytes)
        self._init_native(verify, options)
