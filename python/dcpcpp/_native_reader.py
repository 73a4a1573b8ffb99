"""NativeReader: torch's StorageReader protocol, carried out by libdcp."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import sys
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    Metadata,
    StorageMeta,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
)

from dcpcpp import _core, _metadata, _objects
from dcpcpp._aside import address_of, loads_aside
from dcpcpp._config import log_choices_once, log_direct_io_once
from dcpcpp._decoded import narrow
from dcpcpp._io_options import MIB, core_file_system, has_plain_files, set_io
from dcpcpp._load_bytes import load_bytes_of
from dcpcpp._tensors import EntryMaker
from dcpcpp._text import path_text
from dcpcpp.errors import CheckpointCorruptedError, CheckpointError

# Of tensors that a planner may have made for a load alone.
_MAX_ASIDE_NBYTES = 64 * MIB


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
        self._reads_own_metadata = False

    def set_verify(self, verify: bool) -> None:
        """Choose whether what is read is checked."""
        self._verify = verify

    def make_core_reader(self) -> _core.StorageReader:
        """Libdcp's reader with this one's options."""
        log_choices_once(self._io_options.engine)
        options = _core.FileSystemReaderOptions()
        options.path = path_text(self.path)
        options.verify = self._verify
        set_io(options, self._io_options)
        return self._open_core_reader(options)

    def log_direct_io(self) -> None:
        """Log whether what was read came past the page cache."""
        if self._io_options.direct_io and has_plain_files(self):
            log_direct_io_once(os.path.join(path_text(self.path), ".metadata"))  # noqa: PTH118

    def _open_core_reader(self, options: _core.FileSystemReaderOptions) -> _core.StorageReader:
        return _core.FileSystemReader(options, core_file_system(self.fs, 0))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Read `.metadata`, or `__<rank>.metadata` if `rank` is given.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointCorruptedError: it is not metadata, or not what was written.
        """
        self._core = self.make_core_reader()
        self._reads_own_metadata = kwargs.get("rank") is not None
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

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Open the files of `plan`, before another save can take them away.

        Returns:
            `plan` with the id of the checkpoint that this rank found.
        """
        self._core.open_data([_read_fields(item, None, None) for item in plan.items])
        if self._reads_own_metadata:
            return plan
        return dataclasses.replace(plan, storage_data=_CheckpointFound(_save_id(self._metadata)))

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Make sure that all ranks found the same checkpoint.

        Raises:
            CheckpointCorruptedError: it was replaced while they read its metadata.
        """
        # A planner may have made plans of its own.
        found = [p.storage_data for p in plans if isinstance(p.storage_data, _CheckpointFound)]
        if len(set(found)) > 1:
            raise CheckpointCorruptedError(
                f"the checkpoint {self.path} was replaced while the ranks read its metadata"
            )
        return plans

    def was_replaced(self) -> bool:
        """Whether a load may start again, with a checkpoint that another save made.

        It may if all keys of the former are there: what was read of one that is not
        would stay, and be a mix.
        """
        before = self._metadata
        try:
            now = self.read_metadata()
        except (CheckpointError, OSError):
            return False
        return (
            before is not None
            and _save_id(now) != _save_id(before)
            and before.state_dict_metadata.keys() <= now.state_dict_metadata.keys()
        )

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Any:
        """Read the items of `plan` to where `planner` says.

        A planner may have buffers of its own: what is read to the same one is read and committed
        one after the other, as torch does with all, and of others some are there at a time.

        Returns:
            A done `torch.futures.Future[None]`.
        """
        most = _MAX_ASIDE_NBYTES if loads_aside(planner) else sys.maxsize
        reads: list[tuple[ReadItem, torch.Tensor | None]] = []
        taken: set[int] = set()
        nbytes = 0
        for item in plan.items:
            target = _target_of(item, planner)
            address = address_of(target)
            if address in taken:
                self._read(reads, planner)
                reads, taken, nbytes = [], set(), 0
            reads.append((item, target))
            if address is not None:
                taken.add(address)
            nbytes += 0 if target is None else target.nbytes
            if nbytes >= most:
                self._read(reads, planner)
                reads, taken, nbytes = [], set(), 0
        self._read(reads, planner)
        future: torch.futures.Future[None] = torch.futures.Future()
        future.set_result(None)
        return future

    def _read(
        self, reads: list[tuple[ReadItem, torch.Tensor | None]], planner: LoadPlanner
    ) -> None:
        """Read items to their targets, all at once, and commit them."""
        maker = EntryMaker()
        fields = [_read_fields(item, target, maker) for item, target in reads]
        for position, data in _objects.drained(self._core.read_plan(fields)):
            item, target = reads[position]
            self._load_object(item, target, data, planner)
        maker.finish_load()
        for item, target in reads:
            if target is not None:
                planner.commit_tensor(item, target)

    @staticmethod
    def _load_object(
        item: ReadItem, target: torch.Tensor | None, data: bytes, planner: LoadPlanner
    ) -> None:
        if target is None:
            load_bytes_of(planner)(item, io.BytesIO(data))
            return
        tensor = _objects.decode(data, item.storage_index.fqn, allow_pickle=None)
        target.copy_(narrow(tensor, item.storage_offsets, item.lengths))


@dataclasses.dataclass(frozen=True)
class _CheckpointFound:
    """What a rank tells the coordinator of the metadata that it read."""

    save_id: str | None


def _save_id(metadata: Metadata | None) -> str | None:
    """The id of the save that wrote `metadata`; torch before 2.3 had none."""
    meta = None if metadata is None else metadata.storage_meta
    return None if meta is None else meta.save_id


def _target_of(item: ReadItem, planner: LoadPlanner) -> torch.Tensor | None:
    """Where `planner` wants a tensor; None for an object."""
    if item.type == LoadItemType.BYTE_IO:
        return None
    target: torch.Tensor = planner.resolve_tensor(item).detach()
    if tuple(target.size()) != tuple(item.lengths):
        raise AssertionError(
            f"req {item.storage_index} mismatch sizes {target.size()} vs {item.lengths}"
        )
    return target


def _read_fields(
    item: ReadItem, target: torch.Tensor | None, maker: EntryMaker | None
) -> tuple[Any, ...]:
    index = item.storage_index
    offset = None if index.offset is None else tuple(index.offset)
    hint = -1 if index.index is None else index.index
    view = None
    if target is not None and maker is not None:
        view = maker.destination(index.fqn, target)
    offsets, lengths = tuple(item.storage_offsets), tuple(item.lengths)
    return (item.type.value, index.fqn, offset, hint, offsets, lengths, view)
