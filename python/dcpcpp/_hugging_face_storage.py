"""Readers of Hugging Face safetensors, under torch's names, and of whatever is there."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp import _core
from dcpcpp._filesystem_storage import FileSystemReader
from dcpcpp._io_options import MIB, core_file_system, make_io_options
from dcpcpp._model_mapping import ModelOptions
from dcpcpp._native_reader import NativeReader
from dcpcpp._tensors import code_of_dtype
from dcpcpp._text import is_url

try:
    from torch.distributed.checkpoint.hf_storage import (
        HuggingFaceStorageReader as _TorchsReader,
    )
except ImportError:  # torch before 2.8 has none
    _TorchsReader = torch_filesystem.FileSystemReader  # type: ignore[misc, assignment]

try:
    from torch.distributed.checkpoint.quantized_hf_storage import (
        QuantizedHuggingFaceStorageReader as _TorchsQuantizedReader,
    )
except ImportError:  # torch before 2.9 has none
    _TorchsQuantizedReader = _TorchsReader  # type: ignore[misc, assignment]

_HAS_READER = _TorchsReader is not torch_filesystem.FileSystemReader

__all__ = ["HuggingFaceStorageReader", "QuantizedHuggingFaceStorageReader"]


class HuggingFaceStorageReader(NativeReader, _TorchsReader):
    """Reads the safetensors files of a directory.

    Mirrors `torch.distributed.checkpoint.HuggingFaceStorageReader` (2.13). Unlike it, an
    index (`model.safetensors.index.json`) says which files and tensors count, a tensor that
    is there twice or in part is an error, nothing is mapped, only the bytes that are needed
    are read, in large pieces, and the conversions of a load are in its report.

    Reads a single file, the files that an index lists, the files of single ranks that
    `HuggingFaceStorageWriter`, ours and torch's, writes with `save_distributed=True`, and
    snapshots in a hub cache.

    With `model` or `mapping` a trainer's tensors are read from Hugging Face's files, by the
    rules that `dcpcpp.convert` has with `reverse`: the state dict has the trainer's names, and
    each rank reads what its shards need. Quantized weights that the model has rules for are
    read as floats.

    Args:
        path: directory of the files, or its URL for fsspec.
        thread_count: accepted; reads are parallel whatever it is.
        model: "llama3", for example: see `dcpcpp.convert`, also for what follows.
        mapping: a file with rules of your own.
        model_flavor: "8B", for example; a config.json in `path` tells as much.
        hf_assets_path: a directory whose config.json counts instead.
        dialect: "0.2" for the names of TorchTitan 0.2; None: the latest.
        io_engine: "auto", "io_uring" or "threads".
        direct_io: bypass the page cache for what is not in it.
        io_threads: threads that copy; 0 takes this rank's share of cores.
        max_buffer_bytes: bound of the memory that a load adds.

    Example:
        >>> reader = dcpcpp.HuggingFaceStorageReader("/models/llama")
        >>> dcpcpp.load(model.state_dict(), storage_reader=reader)
        >>> reader = dcpcpp.HuggingFaceStorageReader("/models/llama", model="llama3")
        >>> dcpcpp.load({"model": model.state_dict()}, storage_reader=reader,
        ...             rename={"model.": ""})
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        thread_count: int = 1,
        *,
        model: str | None = None,
        mapping: str | os.PathLike[str] | None = None,
        model_flavor: str | None = None,
        hf_assets_path: str | os.PathLike[str] | None = None,
        dialect: str | None = None,
        io_engine: str = "auto",
        direct_io: bool = True,
        io_threads: int = 0,
        max_buffer_bytes: int = 128 * MIB,
    ) -> None:
        super().__init__(path)  # type: ignore[arg-type]  # torch's takes more than it says
        self.thread_count = thread_count
        maps = mapping is not None or model not in (None, "none")
        self._models = ModelOptions(model, maps, mapping, model_flavor, hf_assets_path, dialect)
        self._maps = self._models.maps
        if is_url(path):
            io_engine, direct_io = "threads", False  # Python reads
        self._point_at(path)
        options = make_io_options(io_engine, direct_io, io_threads, max_buffer_bytes)
        self._init_native(False, options)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Read another directory from now on."""
        super().reset(checkpoint_id)
        if checkpoint_id is not None:
            self._point_at(checkpoint_id)

    def _point_at(self, path: str | os.PathLike[str]) -> None:
        if is_url(path):
            from torch.distributed.checkpoint import _fsspec_filesystem as torch_fsspec

            self.fs = torch_fsspec.FileSystem()
            self.path = self.fs.init_path(path)

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        file_system = core_file_system(self.fs, 0)
        if self._maps:
            rules = self._models.make_mapping(options.path)
            return _core.make_mapped_hugging_face_reader(options, rules, file_system)
        return _core.make_hugging_face_reader(options, file_system)


class QuantizedHuggingFaceStorageReader(HuggingFaceStorageReader, _TorchsQuantizedReader):
    """Reads quantized weights as floats.

    Mirrors `torch.distributed.checkpoint.quantized_hf_storage` (2.13), with its results: the
    matrices "x.weight" that have scales "x.weight_scale_inv", as DeepSeek-V3 ships them, and
    MXFP4's "x_blocks" [..., G, B] with "x_scales", as gpt-oss does, which become
    [..., G * B * 2]. Unlike it, no index is needed, blocks may have any number of dimensions,
    and of the scales only those are read that are needed.

    Args:
        path: directory of the files.
        thread_count: accepted; reads are parallel whatever it is.
        target_dtype: what quantized weights are read as, before a load converts that to the
            dtype of the tensor that it fills.
        block_size: rows and columns of the blocks that share a scale.
        io_engine: see `HuggingFaceStorageReader`, also for what follows.
        direct_io: see there.
        io_threads: see there.
        max_buffer_bytes: see there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        thread_count: int = 1,
        target_dtype: torch.dtype = torch.float32,
        block_size: int = 128,
        *,
        io_engine: str = "auto",
        direct_io: bool = True,
        io_threads: int = 0,
        max_buffer_bytes: int = 128 * MIB,
    ) -> None:
        if not target_dtype.is_floating_point:
            raise ValueError(f"target_dtype is a floating-point type, not {target_dtype}")
        if block_size < 1:
            raise ValueError(f"block_size is a number of rows and columns, not {block_size}")
        super().__init__(
            path,
            thread_count,
            io_engine=io_engine,
            direct_io=direct_io,
            io_threads=io_threads,
            max_buffer_bytes=max_buffer_bytes,
        )
        self.target_dtype = target_dtype
        self.block_size = block_size

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        dequantize = (code_of_dtype(self.target_dtype), self.block_size)
        return _core.make_hugging_face_reader(options, core_file_system(self.fs, 0), dequantize)


class ReaderByContent(FileSystemReader):
    """Reads the format that it finds: what a path alone gets."""

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        return _core.make_reader_by_content(options, core_file_system(self.fs, 0))


def ours_for(reader: Any) -> HuggingFaceStorageReader | None:
    """Our equivalent of torch's own reader of safetensors; None for any other, and subclasses."""
    if not _HAS_READER:
        return None
    if type(reader) is _TorchsReader:
        return HuggingFaceStorageReader(reader.path)
    if type(reader) is _TorchsQuantizedReader:
        return QuantizedHuggingFaceStorageReader(
            reader.path, target_dtype=reader.target_dtype, block_size=reader.block_size
        )
    return None
