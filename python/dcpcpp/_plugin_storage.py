"""PluginWriter and PluginReader: checkpoints in storages that plug-ins add."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StoragePrefix
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from dcpcpp import _core, _plugins
from dcpcpp._io_options import MIB, make_io_options
from dcpcpp._native_reader import NativeReader
from dcpcpp._native_writer import NativeWriter


class PluginWriter(NativeWriter, StorageWriter):
    """Writes a checkpoint to the storage that a plug-in added; see `load_plugin`.

    `dcpcpp.save(checkpoint_id=URL)` makes one by itself; this class is for options.
    A file system's also works with custom planners and in stock torch's `save`; a
    storage of its own kind works in `dcpcpp.save` with the default planner.

    Args:
        url: "scheme://path".
        overwrite: replace a checkpoint that is there.
        sync_files: make it durable before the save returns.
        compression: None or "zstd", where the storage can.
        export_dtype: store floating-point tensors in this dtype, where the storage can.
        max_buffer_bytes: bound of the memory that a save adds, as far as the storage
            keeps it.
    """

    single_file_per_rank = True
    thread_count = 1
    applies_ops = False

    def __init__(
        self,
        url: str,
        *,
        overwrite: bool = True,
        sync_files: bool = True,
        compression: str | None = None,
        export_dtype: torch.dtype | None = None,
        max_buffer_bytes: int = 128 * MIB,
    ) -> None:
        super().__init__()
        self.path = url
        self.overwrite = overwrite
        self.sync_files = sync_files
        self.rank: int | None = None
        self.use_collectives = True
        options = make_io_options("auto", True, 0, max_buffer_bytes)
        self._init_native(compression, export_dtype, None, options)

    def _open_core_writer(self, options: _core.FileSystemWriterOptions) -> _core.StorageWriter:
        return _plugins.make_writer(options)

    def warn_if_exists(self, *, use_collectives: bool, stacklevel: int = 5) -> None:
        """Nothing: only the storage knows whether a checkpoint is there."""

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another save, to `checkpoint_id` if that is given."""
        if checkpoint_id is not None:
            self.path = str(checkpoint_id)
        super().reset(checkpoint_id)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether a plug-in serves this URL."""
        return _plugins.serves(checkpoint_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take what torch tells of this rank."""
        self.rank = kwargs.get("rank")
        self.use_collectives = kwargs.get("use_collectives", True)
        self.begin_save()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Leave the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Number the ranks, as torch's FileSystemWriter does."""
        return [
            dataclasses.replace(plan, storage_data=_StoragePrefix(f"__{rank}_"))
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Any:
        """As NativeWriter.write_data, where the storage is a file system.

        Raises:
            NotImplementedError: it is not.
        """
        if not isinstance(self.make_core_writer(), _core.FileSystemWriter):
            raise NotImplementedError(
                f"the storage of {self.path} needs dcpcpp.save and its default planner"
            )
        return super().write_data(plan, planner)


class PluginReader(NativeReader, StorageReader):
    """Reads a checkpoint from the storage that a plug-in added; see `load_plugin`.

    Args:
        url: "scheme://path".
        verify: check all that is read against its checksum.
        max_buffer_bytes: bound of the memory that a load adds, as far as the storage
            keeps it.
    """

    def __init__(self, url: str, *, verify: bool = True, max_buffer_bytes: int = 128 * MIB) -> None:
        super().__init__()
        self.path = url
        self.load_id = ""
        self._init_native(verify, make_io_options("auto", True, 0, max_buffer_bytes))

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        return _plugins.make_reader(options)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another load, from `checkpoint_id` if that is given."""
        if checkpoint_id is not None:
            self.path = str(checkpoint_id)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether a plug-in serves this URL."""
        return _plugins.serves(checkpoint_id)

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Take the metadata of the checkpoint to read."""
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
