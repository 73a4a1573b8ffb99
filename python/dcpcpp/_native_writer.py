"""NativeWriter: torch's StorageWriter protocol, carried out by libdcp."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
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
    SavePlan,
    SavePlanner,
    WriteItem,
)
from torch.distributed.checkpoint.storage import WriteResult

from dcpcpp import _core, _objects
from dcpcpp._aside import kept, saves_aside
from dcpcpp._config import log_choices_once, log_direct_io_once
from dcpcpp._io_options import core_file_system, has_plain_files, is_zstd, set_io
from dcpcpp._space import is_exported, require_space
from dcpcpp._storage_errors import as_storage_error
from dcpcpp._tensors import EntryMaker, code_of_dtype
from dcpcpp._text import path_text

_VERSION = "1.0.0"  # torch 2.13 filesystem.CURRENT_DCP_VERSION
_NOTES = "_dcpcpp_notes"


class NativeWriter:
    """What the writers share: torch's protocol, carried out by libdcp."""

    path: Any
    fs: Any
    save_id: str
    # Whether libdcp's writer applies conjugate and negative bits.
    applies_ops = True

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
        thread_count: int = self.thread_count  # type: ignore[attr-defined]
        if thread_count < 1:
            raise ValueError(f"thread_count is the number of files per rank, not {thread_count}")
        self._compression = _known_compression(compression)
        self._export_dtype = export_dtype
        self._io_options = io_options
        self._core: Any = None
        self.save_id = _new_save_id()
        self._save_id_is_used = False

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(checkpoint_id)  # type: ignore[misc]  # torch's class comes next
        self.save_id = _new_save_id()
        self._save_id_is_used = False

    def keep_directory(self) -> None:
        """Mean the same directory after a `chdir`, which a trainer may do during the save."""
        if has_plain_files(self):
            self.path = Path.cwd() / self.path

    def begin_save(self) -> None:
        """Take an id for a save: its own, also if `reset` was not called after the last one."""
        if self._save_id_is_used:
            self.save_id = _new_save_id()
        self._save_id_is_used = True

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Under torch's protocol, begin a save."""
        super().set_up_storage_writer(  # type: ignore[misc]  # torch's class comes next
            is_coordinator, *args, **kwargs
        )
        self.begin_save()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Under torch's protocol, make the directory, durably, before torch makes it."""
        core: Any = self.make_core_writer()
        core.set_up(0, False, True)
        prepared: SavePlan = super().prepare_local_plan(  # type: ignore[misc]  # as above
            plan
        )
        return prepared

    def make_core_writer(
        self,
        export_dtype: torch.dtype | None = None,
        compression: str | None = None,
        *,
        beside_training: bool = False,
    ) -> _core.StorageWriter:
        """Libdcp's writer with this one's options; those given here come first.

        `beside_training`: its threads leave a core, unless their number was given.
        """
        log_choices_once(self._io_options.engine)
        options = _core.FileSystemWriterOptions()
        options.path = path_text(self.path)
        options.checkpoint_id = str(self.path)
        options.save_id = self.save_id
        options.single_file_per_rank = self.single_file_per_rank  # type: ignore[attr-defined]
        options.sync_files = self.sync_files  # type: ignore[attr-defined]
        options.file_count = self.thread_count  # type: ignore[attr-defined]
        options.overwrite = self.overwrite  # type: ignore[attr-defined]
        options.zstd = _known_compression(compression) == "zstd" or self._compresses()
        export_dtype = export_dtype or self._export_dtype
        if export_dtype is not None:
            options.export_dtype = code_of_dtype(export_dtype)
        set_io(options, self._io_options, beside_training=beside_training)
        return self._open_core_writer(options)

    def _compresses(self) -> bool:
        transforms = getattr(self, "transforms", None)
        return self._compression == "zstd" or is_zstd(getattr(transforms, "extensions", None) or ())

    def _open_core_writer(self, options: _core.FileSystemWriterOptions) -> _core.StorageWriter:
        return _core.FileSystemWriter(options, core_file_system(self.fs, self._own_rank()))

    def _own_rank(self) -> int:
        return getattr(self, "rank", None) or 0

    def log_direct_io(self) -> None:
        """Log whether what was written went past the page cache."""
        if self._io_options.direct_io and has_plain_files(self):
            log_direct_io_once(path_text(self.path))

    def warn_if_exists(self, *, use_collectives: bool, stacklevel: int = 5) -> None:
        """Tell of a checkpoint that is about to be replaced, in torch's words."""
        name = ".metadata" if use_collectives else "__0.metadata"
        if not self.overwrite:  # type: ignore[attr-defined]
            return
        path = self.fs.concat_path(self.path, name)
        with as_storage_error("exists", path):
            if not self.fs.exists(path):
                return
        warnings.warn(
            f"Detected an existing checkpoint in {self.path}, overwriting since "
            f"self.overwrite={self.overwrite}."  # type: ignore[attr-defined]
            " Past version 2.5 of PyTorch, `overwrite` will default to False. Set this variable "
            "to True to maintain this functionality or False to raise when an existing checkpoint "
            "is found.",
            stacklevel=stacklevel,
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
        if has_plain_files(self) and not self._compresses():
            # What zstd will make of the bytes is not known before.
            require_space(plan, path_text(self.path), self._export_dtype)
        self._core = self.make_core_writer()
        # A save under torch's protocol is not told whether this rank coordinates when
        # it writes; finish() says so.
        resolver = _PlanResolver(plan, planner, self.applies_ops)
        with _aborting(self._core):
            self._core.set_up(rank, False, getattr(self, "use_collectives", True))
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
        is_new = self._core is None
        if is_new:
            self._core = self.make_core_writer()
        with _aborting(self._core):
            if is_new:
                self._core.set_up(self._own_rank(), True, getattr(self, "use_collectives", True))
            else:  # it knows what this rank has written, and removes it if it cannot publish
                self._core.set_up_to_publish()
            self._core.publish(pickle.dumps(metadata, protocol=4), notes)

    def _record_export_dtype(self, metadata: Metadata) -> None:
        # torch's planner has recorded what the tensors are in memory.
        if self._export_dtype is None:
            return
        for entry in metadata.state_dict_metadata.values():
            if isinstance(entry, TensorStorageMetadata) and is_exported(entry.properties.dtype):
                entry.properties.dtype = self._export_dtype


def _known_compression(compression: str | None) -> str | None:
    if compression not in (None, "zstd"):
        raise ValueError(f'compression must be None or "zstd", not {compression!r}')
    return compression


def _new_save_id() -> str:
    return f"dcpcpp-{uuid.uuid4().hex}"


@contextlib.contextmanager
def _aborting(core: _core.FileSystemWriter) -> Iterator[None]:
    """After an error, removes what this step of `core` made and gives its claim back.

    The writer may live as long as the program; the next save may be another one's.
    """
    try:
        yield
    except BaseException:
        core.abort()
        raise


class _PlanResolver:
    """Gives libdcp the data of a plan's items, asking the planner for each."""

    def __init__(self, plan: SavePlan, planner: SavePlanner, applies_ops: bool) -> None:
        self._items = plan.items
        self._planner = planner
        self._applies_ops = applies_ops
        self._saves_aside = saves_aside(planner)

    def resolve(self, position: int) -> Any:
        item = self._items[position]
        data = self._planner.resolve_data(item)
        if isinstance(data, io.BytesIO):
            pickled = data.getvalue()
            _objects.warn_of_classes(pickled, item.index.fqn)
            return pickled
        if self._saves_aside:  # the next one may be put into the same buffer
            data = kept(data, self._planner, item.index)
        maker = EntryMaker(applies_ops=self._applies_ops)
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
