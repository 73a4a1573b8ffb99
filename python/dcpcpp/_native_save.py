"""A save that libdcp plans and carries out by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.distributed.checkpoint import default_planner
from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core, _exceptions, _objects
from dcpcpp._errand import Errand, place_of
from dcpcpp._in_flight import saving
from dcpcpp._mesh_layouts import MeshLayouts, layouts_for
from dcpcpp._metadata import LazyMetadata
from dcpcpp._native_path import flatten, has_tensors, is_default, native_writer
from dcpcpp._selection import Selection
from dcpcpp._setup_failure import told_to_savers
from dcpcpp._state_dict import Path
from dcpcpp._stats import SaveStats
from dcpcpp._tensors import Entry, EntryMaker
from dcpcpp._transport import ProcessGroupTransport, transport_for
from dcpcpp.errors import RankFailuresError

StateMaker = Callable[[], dict[str, Any]]

_PLAIN = frozenset({bool, bytes, float, int, str, type(None)})


class SaveJob:
    """One save: decides who carries it out, and does if it is libdcp."""

    def __init__(
        self,
        writer: Any,
        planner: Any,
        selection: Selection,
        *,
        export_dtype: torch.dtype | None = None,
        compression: str | None = None,
        stats: SaveStats | None = None,
    ) -> None:
        self.stats = stats if stats is not None else SaveStats()
        self.stats.begin()
        self._planner = planner
        self._selection = selection
        self._writer = native_writer(writer)
        self._place: str | None = None
        self.saver: _core.Saver | None = None  # who saves what stage() returns, if not threads
        self.is_native = self._writer is not None and is_default(
            planner, default_planner.DefaultSavePlanner
        )
        self._export_dtype = export_dtype
        self._compression = compression
        plain = export_dtype is None and compression is None and selection.is_trivial
        if not self.is_native and not plain:
            raise ValueError(
                "include, exclude, rename, export_dtype and compression need dcpcpp's own planner "
                f"and storage, not {type(planner).__name__} and {type(writer).__name__}"
            )

    def save(
        self,
        make_state: StateMaker,
        process_group: Any,
        *,
        use_dist: bool,
        use_collectives: bool = True,
        coordinator: int = 0,
    ) -> Metadata:
        """Save what `make_state` returns; its errors reach all ranks."""
        assert self._writer is not None
        with told_to_savers(
            process_group,
            use_dist=use_dist,
            use_collectives=use_collectives,
            coordinator=coordinator,
        ):
            core_writer = self.make_core_writer()
        with (
            saving(),
            transport_for(
                process_group,
                self.errand(use_collectives=use_collectives),
                use_dist=use_dist,
                coordinator=coordinator,
            ) as transport,
        ):
            entries, keep_alive = _core.SaveEntries(()), None
            local_error: Exception | None = None
            try:
                self._writer.warn_if_exists(use_collectives=use_collectives)
                layouts = layouts_for(process_group, use_dist=use_dist)
                entries, keep_alive = self.entries(make_state(), layouts)
            except Exception as error:  # it travels to the other ranks
                local_error = error
            result = self.write(entries, local_error, core_writer, transport, use_collectives)
            del keep_alive
            return result

    @property
    def writes_natively(self) -> bool:
        """Whether libdcp does the writing if the planner lets it."""
        return self._writer is not None

    def make_core_writer(self, *, beside_training: bool = False) -> _core.StorageWriter:
        """Libdcp's writer for this save; it does no I/O yet."""
        assert self._writer is not None
        self._writer.begin_save()
        writer = self._writer.make_core_writer(
            self._export_dtype, self._compression, beside_training=beside_training
        )
        self._place = place_of(self._writer)
        # The caller may point it elsewhere while the save runs.
        self._writer = copy.copy(self._writer)
        return writer

    def errand(self, *, use_collectives: bool) -> Errand:
        """What the other ranks are told of this save; once its writer is made."""
        return Errand("save", self._place, use_collectives)

    def warn_if_exists(self, *, use_collectives: bool, stacklevel: int) -> None:
        """Tell of a checkpoint that is about to be replaced."""
        assert self._writer is not None
        self._writer.warn_if_exists(use_collectives=use_collectives, stacklevel=stacklevel)

    def entries(
        self, state_dict: dict[str, Any], layouts: MeshLayouts | None
    ) -> tuple[_core.SaveEntries, object]:
        """What this rank has to save, and what keeps the memory alive that it points to."""
        assert self._writer is not None
        maker = EntryMaker(applies_ops=self._writer.applies_ops, layouts=layouts)
        return _core.SaveEntries(self._entries(state_dict, maker)), maker.keep_alive

    def stage(
        self,
        entries: _core.SaveEntries,
        keep_alive: object,
        limit: _core.StagingLimit,
        copying: _core.DeviceCopying,
        *,
        copies_first: bool,
    ) -> _core.StagedState:
        """Begin to copy `entries`; `copies_first`: the caller is about to wait for that."""
        return _core.StagedState(
            entries,
            keep_alive,
            limit,
            threads=0,
            trace=self.stats.trace,
            saver=self.saver,
            copying=copying,
            copies_first=copies_first,
        )

    def write(
        self,
        entries: _core.SaveEntries | _core.StagedState,
        local_error: BaseException | None,
        core_writer: _core.StorageWriter,
        transport: _core.Transport,
        use_collectives: bool,
    ) -> Metadata:
        """Plan and write `entries`, or tell the other ranks of `local_error`; collective."""
        options = _core.SaveOptions()
        options.use_collectives = use_collectives
        options.dedup_to_lowest_rank = getattr(self._planner, "dedup_save_to_lowest_rank", False)
        options.record_paths = getattr(self._planner, "flatten_state_dict", True)
        options.trace = self.stats.trace
        if isinstance(transport, ProcessGroupTransport):
            options.plan_cache = transport.plan_cache
        try:
            data = _core.save(entries, local_error, core_writer, transport, options)
        except RankFailuresError as error:
            _exceptions.raise_failures(error, transport.rank(), local_error)
        assert self._writer is not None
        self._writer.log_direct_io()
        self.stats.finish(transport.rank(), self._writer.path)
        return LazyMetadata(data)

    def _entries(self, state_dict: dict[str, Any], maker: EntryMaker) -> Iterator[Entry]:
        flat = flatten(state_dict, self._planner)
        maker.keep_alive.append(flat.leaves)  # maybe all that holds what a state_dict() made
        keys: dict[str, str] = {}  # by name in the checkpoint
        for key, name in self._selection.names(flat.leaves, "saved"):
            value = flat.leaves[key]
            if not self._selection.is_trivial and keys.setdefault(name, key) != key:
                raise ValueError(f"rename makes {name!r} of both {keys[name]!r} and {key!r}")
            path = flat.paths[key] if name == key else _renamed_path(flat.paths[key], name)
            if has_tensors(value):
                yield from maker.save_entries(name, value, path)
            else:
                data = _objects.encode(value)
                if type(value) not in _PLAIN:
                    _objects.warn_of_classes(data, key)
                yield (name, data, path)


def _renamed_path(path: Path, name: str) -> Path:
    """The path of a renamed key: what is left of its containers, then one key of a mapping."""
    kept = 0
    while kept < len(path) - 1 and name.startswith(f"{_joined(path[: kept + 1])}."):
        kept += 1
    while kept and isinstance(path[kept], int):  # in a list there are numbers only
        kept -= 1
    return (*path[:kept], name[len(_joined(path[:kept])) + 1 :] if kept else name)


def _joined(path: Path) -> str:
    return ".".join(str(part) for part in path)
