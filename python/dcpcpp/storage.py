"""Writers and readers of PyTorch DCP's own format, under torch's names.

Each class derives from torch's class of the same name, and works in stock
`torch.distributed.checkpoint.save(storage_writer=...)` as well as in `dcpcpp.save`.
"""

from __future__ import annotations

import inspect
import io
import os
import pickle
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem
from torch.distributed.checkpoint.metadata import (
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    WriteItem,
)
from torch.distributed.checkpoint.storage import WriteResult

from dcpcpp import _core, _metadata, _objects
from dcpcpp._config import log_choices_once
from dcpcpp._tensors import EntryMaker, code_of_dtype, narrow

__all__ = ["FileSystemReader", "FileSystemWriter"]

_VERSION = "1.0.0"  # torch 2.13 filesystem.CURRENT_DCP_VERSION
_NOTES = "_dcpcpp_notes"
_MIB = 1 << 20


def supported(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of `arguments` that this torch's `function` takes."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in known}


def make_io_options(io_engine: str, direct_io: bool, io_threads: int, max_buffer_bytes: int) -> Any:
    options = _core.IoOptions()
    options.engine = io_engine
    options.direct_io = direct_io
    options.workers = io_threads or _default_threads()
    options.max_buffer_nbytes = max_buffer_bytes
    return options


def _default_threads() -> int:
    """This rank's share of the cores, by the variables that torchrun sets."""
    ranks = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    cores = len(os.sched_getaffinity(0))
    return min(max(cores // ranks, 1), 4)


def is_zstd(extensions: Sequence[Any]) -> bool:
    """Whether torch's `_extensions` are none, or exactly ZStandard.

    Raises:
        NotImplementedError: another extension, whose bytes only torch can make.
    """
    names = [type(extension).__name__ for extension in extensions]
    if names in ([], ["ZStandard"]):
        return bool(names)
    raise NotImplementedError(f"dcpcpp writes no stream extensions but ZStandard, not {names}")


def core_file_system(fs: Any, rank: int) -> Any:
    """Libdcp's file system for a writer's or reader's `fs`; None for the machine's own."""
    if type(fs) is torch_filesystem.FileSystem:
        return None
    inner = getattr(fs, "fs", None)
    if type(fs).__module__ == "torch.distributed.checkpoint._fsspec_filesystem" and inner:
        from dcpcpp._fsspec import FsspecFileSystem

        return FsspecFileSystem(inner)
    from dcpcpp._torch_file_system import TorchFileSystem

    return TorchFileSystem(fs, rank)


class NativeWriter:
    """What the writers share: torch's protocol, carried out by libdcp."""

    path: Any
    fs: Any
    save_id: str

    def _init_native(
        self,
        compression: str | None,
        export_dtype: torch.dtype | None,
        serialization_format: Any,
        io_options: Any,
    ) -> None:
        if getattr(serialization_format, "value", "torch_save") != "torch_save":
            raise ValueError(
                "FileSystemWriter with SerializationFormat.SAFETENSORS writes files that nothing "
                "can read; use HuggingFaceStorageWriter for safetensors"
            )
        self._compression = _known_compression(compression)
        self._export_dtype = export_dtype
        self._io_options = io_options
        self._core: Any = None
        self.save_id = _new_save_id()

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(checkpoint_id)  # type: ignore[misc]  # torch's class comes next
        self.save_id = _new_save_id()

    def make_core_writer(
        self, export_dtype: torch.dtype | None = None, compression: str | None = None
    ) -> _core.StorageWriter:
        """Libdcp's writer with this one's options; those given here come first."""
        log_choices_once(self._io_options.engine)
        options = _core.FileSystemWriterOptions()
        options.path = os.fspath(self.path)
        options.checkpoint_id = str(self.path)
        options.save_id = self.save_id
        options.single_file_per_rank = self.single_file_per_rank  # type: ignore[attr-defined]
        options.sync_files = self.sync_files  # type: ignore[attr-defined]
        options.file_count = self.thread_count  # type: ignore[attr-defined]
        options.overwrite = self.overwrite  # type: ignore[attr-defined]
        transforms = getattr(self, "transforms", None)
        options.zstd = (_known_compression(compression) or self._compression) == "zstd" or is_zstd(
            getattr(transforms, "extensions", None) or ()
        )
        export_dtype = export_dtype or self._export_dtype
        if export_dtype is not None:
            options.export_dtype = code_of_dtype(export_dtype)
        options.io = self._io_options
        return self._open_core_writer(options)

    def _open_core_writer(self, options: _core.FileSystemWriterOptions) -> _core.StorageWriter:
        return _core.FileSystemWriter(options, core_file_system(self.fs, self._own_rank()))

    def _own_rank(self) -> int:
        return getattr(self, "rank", None) or 0

    def warn_if_exists(self, *, use_collectives: bool) -> None:
        """Tell of a checkpoint that is about to be replaced, in torch's words."""
        name = ".metadata" if use_collectives else "__0.metadata"
        if not self.overwrite or not self.fs.exists(  # type: ignore[attr-defined]
            self.fs.concat_path(self.path, name)
        ):
            return
        warnings.warn(
            f"Detected an existing checkpoint in {self.path}, overwriting since "
            f"self.overwrite={self.overwrite}."  # type: ignore[attr-defined]
            " Past version 2.5 of PyTorch, `overwrite` will default to False. Set this variable "
            "to True to maintain this functionality or False to raise when an existing checkpoint "
            "is found.",
            stacklevel=6,
        )

    def storage_meta(self) -> StorageMeta:
        """The checkpoint's id, as a plain string, and the id of this save."""
        return StorageMeta(checkpoint_id=str(self.path), save_id=self.save_id)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Any:
        """Write the items of `plan`, which `planner` resolves when they are due.

        Returns:
            A done `torch.futures.Future[list[WriteResult]]`.
        """
        rank = self._rank_of(plan)
        self._core = self.make_core_writer()
        # A save under torch's protocol is not told whether this rank coordinates when
        # it writes; finish() sets that up again.
        self._core.set_up(rank, False, getattr(self, "use_collectives", True))
        resolver = _PlanResolver(plan, planner)
        places, notes = self._core.write_plan(
            [_write_fields(item) for item in plan.items], resolver.resolve
        )
        results = [
            _write_result(item, place) for item, place in zip(plan.items, places, strict=True)
        ]
        if results:
            setattr(results[0].storage_data, _NOTES, notes)
        future: torch.futures.Future[list[WriteResult]] = torch.futures.Future()
        future.set_result(results)
        return future

    def _rank_of(self, plan: SavePlan) -> int:
        rank: int | None = getattr(self, "rank", None)
        if rank is not None:
            return rank
        # Before torch 2.9 only the plan's prefix "__<rank>_" tells.
        return int(plan.storage_data.prefix.strip("_"))

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Publish the checkpoint: the commit."""
        storage_data: dict[MetadataIndex, Any] = {}
        notes = []
        for result in (result for of_rank in results for result in of_rank):
            note = vars(result.storage_data).pop(_NOTES, None)
            if note is not None:
                notes.append(note)
            storage_data[result.index] = result.storage_data
        metadata.storage_data = storage_data
        self._record_export_dtype(metadata)
        metadata.storage_meta = self.storage_meta()
        metadata.version = _VERSION
        rank = getattr(self, "rank", None) or 0
        if self._core is None:
            self._core = self.make_core_writer()
        self._core.set_up(rank, True, getattr(self, "use_collectives", True))
        self._core.publish(pickle.dumps(metadata, protocol=4), notes)

    def _record_export_dtype(self, metadata: Metadata) -> None:
        # torch's planner has recorded what the tensors are in memory.
        if self._export_dtype is None:
            return
        for entry in metadata.state_dict_metadata.values():
            if isinstance(entry, TensorStorageMetadata) and _is_exported(entry.properties.dtype):
                entry.properties.dtype = self._export_dtype


def _is_exported(dtype: torch.dtype) -> bool:
    # Two 4-bit numbers in a byte are bits to libdcp: no cast takes them apart.
    return dtype.is_floating_point and dtype != getattr(torch, "float4_e2m1fn_x2", None)


def _known_compression(compression: str | None) -> str | None:
    if compression not in (None, "zstd"):
        raise ValueError(f'compression must be None or "zstd", not {compression!r}')
    return compression


def _new_save_id() -> str:
    return f"dcpcpp-{uuid.uuid4().hex}"


class _PlanResolver:
    """Gives libdcp the data of a plan's items, asking the planner for each."""

    def __init__(self, plan: SavePlan, planner: SavePlanner) -> None:
        self._items = plan.items
        self._planner = planner

    def resolve(self, position: int) -> Any:
        item = self._items[position]
        data = self._planner.resolve_data(item)
        if isinstance(data, io.BytesIO):
            return data.getvalue()
        maker = EntryMaker()
        return maker.payload(item.index.fqn, data)


def _write_fields(item: WriteItem) -> tuple[Any, ...]:
    data = item.tensor_data
    if data is None:
        return (item.index.fqn, None, -1, item.type.value, None, 0)
    nbytes = data.chunk.sizes.numel() * data.properties.dtype.itemsize
    offsets, sizes = tuple(data.chunk.offsets), tuple(data.chunk.sizes)
    return (item.index.fqn, offsets, item.index.index or 0, item.type.value, sizes, nbytes)


def _write_result(item: WriteItem, place: tuple[str, int, int, list[str]]) -> WriteResult:
    path, offset, length, transforms = place
    info = torch_filesystem._StorageInfo(path, offset, length)
    if transforms:
        info.transform_descriptors = transforms
    return WriteResult(index=item.index, size_in_bytes=length, storage_data=info)


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
        io_threads: threads that copy and checksum; 0 takes this rank's share of cores.
        max_buffer_bytes: bound of the memory that a save adds.

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
        max_buffer_bytes: int = 128 * _MIB,
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
        base = torch_filesystem.FileSystemWriter.__init__
        super().__init__(path, **supported(base, arguments))
        options = make_io_options(io_engine, direct_io, io_threads, max_buffer_bytes)
        self._init_native(compression, export_dtype, serialization_format, options)


class NativeReader:
    """What the readers share: torch's protocol, carried out by libdcp."""

    path: Any
    fs: Any
    load_id: str

    def _init_native(self, verify: bool, io_options: Any) -> None:
        self._verify = verify
        self._io_options = io_options
        self._core: Any = None
        self._index: Any = None
        self._metadata: Metadata | None = None

    def set_verify(self, verify: bool) -> None:
        """Choose whether what is read is checked."""
        self._verify = verify

    def make_core_reader(self) -> _core.StorageReader:
        """Libdcp's reader with this one's options."""
        log_choices_once(self._io_options.engine)
        options = _core.FileSystemReaderOptions()
        options.path = os.fspath(self.path)
        options.verify = self._verify
        options.io = self._io_options
        return self._open_core_reader(options)

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        return _core.FileSystemReader(options, core_file_system(self.fs, 0))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Read `.metadata`, or `__<rank>.metadata` if `rank` is given.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointCorruptedError: it is not metadata, or not what was written.
        """
        self._core = self.make_core_reader()
        self._index = self._core.read_index(kwargs.get("rank"))
        metadata = _metadata.from_core(self._index.metadata)
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        self._metadata = metadata
        return metadata

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Take the metadata of the checkpoint to read."""
        super().set_up_storage_reader(  # type: ignore[misc]  # torch's class comes next
            metadata, is_coordinator, *args, **kwargs
        )
        if self._core is None:
            self._core = self.make_core_reader()
        if metadata is not self._metadata:
            # Somebody else's, e.g. kept from an earlier load.
            parsed = _core.parse_metadata(pickle.dumps(metadata, protocol=4))
            self._index = _core.CheckpointIndex(parsed)
            self._metadata = metadata
        self._core.set_up(self._index)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Any:
        """Read the items of `plan` to where `planner` says.

        Returns:
            A done `torch.futures.Future[None]`.
        """
        maker = EntryMaker()
        targets: list[torch.Tensor | None] = []
        fields = []
        for item in plan.items:
            target = None
            if item.type != LoadItemType.BYTE_IO:
                target = planner.resolve_tensor(item).detach()
                if tuple(target.size()) != tuple(item.lengths):
                    raise AssertionError(
                        f"req {item.storage_index} mismatch sizes {target.size()} vs {item.lengths}"
                    )
            targets.append(target)
            fields.append(_read_fields(item, target, maker))
        for position, data in self._core.read_plan(fields):
            self._load_object(plan.items[position], targets[position], data, planner)
        maker.finish_load()
        for item, target in zip(plan.items, targets, strict=True):
            if target is not None:
                planner.commit_tensor(item, target)
        future: torch.futures.Future[None] = torch.futures.Future()
        future.set_result(None)
        return future

    @staticmethod
    def _load_object(
        item: ReadItem, target: torch.Tensor | None, data: bytes, planner: LoadPlanner
    ) -> None:
        if target is None:
            planner.load_bytes(item, io.BytesIO(data))
            return
        tensor = _objects.decode(data, item.storage_index.fqn, allow_pickle=False)
        target.copy_(narrow(tensor, item.storage_offsets, item.lengths))


def _read_fields(item: ReadItem, target: torch.Tensor | None, maker: EntryMaker) -> tuple[Any, ...]:
    index = item.storage_index
    offset = None if index.offset is None else tuple(index.offset)
    hint = -1 if index.index is None else index.index
    view = None if target is None else maker.destination(target)
    offsets, lengths = tuple(item.storage_offsets), tuple(item.lengths)
    return (item.type.value, index.fqn, offset, hint, offsets, lengths, view)


class FileSystemReader(NativeReader, torch_filesystem.FileSystemReader):
    """Reads a checkpoint directory in PyTorch DCP's format.

    Mirrors `torch.distributed.checkpoint.FileSystemReader` (2.13). Unlike it, reading
    metadata runs no code, only the bytes that are needed are read, and they are checked.

    Args:
        path: directory of the checkpoint.
        _extension_registry: accepted; libdcp decodes ZStandard by itself.
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
        max_buffer_bytes: int = 128 * _MIB,
    ) -> None:
        base = torch_filesystem.FileSystemReader.__init__
        super().__init__(path, **supported(base, {"_extension_registry": _extension_registry}))
        options = make_io_options(io_engine, direct_io, io_threads, max_buffer_bytes)
        self._init_native(verify, options)
