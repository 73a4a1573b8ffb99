"""The native path: a save or load that libdcp plans and carries out by itself."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.distributed.checkpoint import default_planner
from torch.distributed.checkpoint import filesystem as torch_filesystem
from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core, _exceptions, _objects, _state_dict
from dcpcpp._metadata import LazyMetadata
from dcpcpp._report import LoadReport
from dcpcpp._selection import Selection
from dcpcpp._state_dict import FlatState, Path
from dcpcpp._tensors import EntryMaker, dtype_of_code, is_tensor, narrow
from dcpcpp._transport import transport_for
from dcpcpp.errors import RankFailuresError
from dcpcpp.storage import FileSystemReader, FileSystemWriter, NativeReader, NativeWriter, is_zstd

StateMaker = Callable[[], dict[str, Any]]


def _is_default(planner: Any, default: type[Any]) -> bool:
    """Whether `planner` is torch's default with nothing overridden."""
    return planner is None or (type(planner) is default and not _patched(planner, default))


def _patched(instance: Any, default: type[Any]) -> bool:
    """Whether somebody set a method on the instance."""
    return any(callable(getattr(default, name, None)) for name in vars(instance))


def _has_plain_files(storage: Any) -> bool:
    return type(getattr(storage, "fs", None)) is torch_filesystem.FileSystem


def _is_unchanged(storage: Any, plain_class: type[Any]) -> bool:
    """Whether `storage` is one of our classes, as it was made."""
    ours = type(storage).__module__.startswith("dcpcpp.")
    plain = type(storage) is not plain_class or _has_plain_files(storage)
    return ours and plain and not _patched(storage, type(storage))


def _native_writer(writer: Any) -> NativeWriter | None:
    """Libdcp's equivalent of `writer`, None if its behaviour is somebody's own."""
    if isinstance(writer, NativeWriter):
        return writer if _is_unchanged(writer, FileSystemWriter) else None
    kind = torch_filesystem.FileSystemWriter
    if type(writer) is not kind or not _has_plain_files(writer) or _patched(writer, kind):
        return None
    extensions = getattr(getattr(writer, "transforms", None), "extensions", None) or ()
    file_format = getattr(writer, "serialization_format", None)
    try:
        is_zstd(extensions)
        native = FileSystemWriter(
            writer.path,
            single_file_per_rank=writer.single_file_per_rank,
            sync_files=writer.sync_files,
            thread_count=writer.thread_count,
            overwrite=getattr(writer, "overwrite", True),
            _extensions=extensions,
            serialization_format=file_format,
        )
    except (NotImplementedError, ValueError):
        return None
    return native


def _native_reader(reader: Any) -> NativeReader | None:
    if isinstance(reader, NativeReader):
        return reader if _is_unchanged(reader, FileSystemReader) else None
    kind = torch_filesystem.FileSystemReader
    if type(reader) is not kind or not _has_plain_files(reader) or _patched(reader, kind):
        return None
    return FileSystemReader(reader.path)


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
    ) -> None:
        self._planner = planner
        self._selection = selection
        self._writer = _native_writer(writer)
        self.is_native = self._writer is not None and _is_default(
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
        with transport_for(
            process_group, "write", use_dist=use_dist, coordinator=coordinator
        ) as transport:
            return self._save(make_state, transport, use_collectives)

    def _save(
        self, make_state: StateMaker, transport: _core.Transport, use_collectives: bool
    ) -> Metadata:
        assert self._writer is not None
        maker = EntryMaker()
        entries: list[Any] = []
        local_error: BaseException | None = None
        try:
            self._writer.warn_if_exists(use_collectives=use_collectives)
            entries = self._entries(make_state(), maker)
        except BaseException as error:  # it travels to the other ranks
            local_error = error
        options = _core.SaveOptions()
        options.use_collectives = use_collectives
        options.dedup_to_lowest_rank = getattr(self._planner, "dedup_save_to_lowest_rank", False)
        options.record_paths = getattr(self._planner, "flatten_state_dict", True)
        core_writer = self._writer.make_core_writer(self._export_dtype, self._compression)
        try:
            data = _core.save(entries, local_error, core_writer, transport, options)
        except RankFailuresError as error:
            _exceptions.raise_failures(error, transport.rank(), local_error)
        return LazyMetadata(data)

    def _entries(self, state_dict: dict[str, Any], maker: EntryMaker) -> list[Any]:
        flat = _flatten(state_dict, self._planner)
        entries: list[Any] = []
        trivial = self._selection.is_trivial
        for key, value in flat.leaves.items():
            if not (trivial or self._selection.takes(key)):
                continue
            name = key if trivial else self._selection.stored_name(key)
            path = flat.paths[key] if name == key else _renamed_path(flat.paths[key], name)
            if is_tensor(value) or hasattr(value, "__create_write_items__") or _is_sharded(value):
                entries.extend(maker.save_entries(name, value, path))
            else:
                entries.append((name, _objects.encode(value), path))
        return entries


def _is_sharded(value: object) -> bool:
    return hasattr(value, "local_shards")


def _flatten(state_dict: dict[str, Any], planner: Any) -> FlatState:
    if getattr(planner, "flatten_state_dict", True):
        return _state_dict.flatten(state_dict, _is_leaf_tensor)
    return _state_dict.not_flattened(state_dict)


def _is_leaf_tensor(value: object) -> bool:
    return is_tensor(value) or _is_sharded(value)


def _renamed_path(path: Path, name: str) -> Path:
    """The path of a renamed key: what is left of its containers, then one key."""
    kept: list[str | int] = []
    rest = name
    for part in path[:-1]:
        if not rest.startswith(f"{part}."):
            break
        kept.append(part)
        rest = rest[len(str(part)) + 1 :]
    return (*kept, rest)


class LoadJob:
    """One load: decides who carries it out, and does if it is libdcp."""

    def __init__(
        self, reader: Any, planner: Any, selection: Selection, *, allow_pickle: bool = False
    ) -> None:
        self._planner = planner
        self._selection = selection
        self._allow_pickle = allow_pickle
        self._reader = _native_reader(reader)
        self.is_native = self._reader is not None and _is_default(
            planner, default_planner.DefaultLoadPlanner
        )
        if not self.is_native and not selection.is_trivial:
            raise ValueError(
                "include, exclude and rename need dcpcpp's own planner and storage, not "
                f"{type(planner).__name__} and {type(reader).__name__}"
            )

    def load(
        self,
        make_state: StateMaker,
        process_group: Any,
        *,
        use_dist: bool,
        coordinator: int = 0,
        report: LoadReport | None = None,
    ) -> None:
        """Fill what `make_state` returns; its errors reach all ranks."""
        assert self._reader is not None
        template = _Template(make_state, self._planner, self._selection, self._allow_pickle)
        reader = self._reader.make_core_reader()
        partial = getattr(self._planner, "allow_partial_load", False)
        with transport_for(
            process_group, "read", use_dist=use_dist, coordinator=coordinator
        ) as transport:
            try:
                _core.load(template.make_entries, template.accept, reader, transport, partial)
            except RankFailuresError as error:
                _exceptions.raise_failures(error, transport.rank(), template.error)
        template.finish()
        _report(template.result, report)


class _Template:
    """The state dict to fill, and where each entry of libdcp's load goes in it."""

    def __init__(
        self, make_state: StateMaker, planner: Any, selection: Selection, allow_pickle: bool
    ) -> None:
        self._make_state = make_state
        self._planner = planner
        self._allow_pickle = allow_pickle
        self._selection = selection
        self._maker = EntryMaker()
        self._flat = FlatState()
        self._keys: list[str] = []  # of each entry
        self._tensors: list[Any] = []  # of each entry, None for objects
        self._objects: list[tuple[str, Any]] = []  # key and decoded value
        self.result: dict[str, Any] = {}
        self.error: BaseException | None = None

    def make_entries(self, metadata: _core.Metadata) -> list[Any]:
        """What libdcp is to load; called once the metadata is there."""
        with self._keeping_error():
            return self._make_entries(metadata)

    def accept(self, result: dict[str, Any]) -> None:
        """Do what may fail with what was read, before the ranks agree on the outcome."""
        with self._keeping_error():
            self._decode(result)

    def finish(self) -> None:
        """Put the objects into the state dict."""
        for key, value in self._objects:
            self._flat.replace(key, value)

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def _make_entries(self, metadata: _core.Metadata) -> list[Any]:
        state = self._make_state()
        self._flat = self._flatten(state, set(metadata.keys()))
        entries: list[Any] = []
        trivial = self._selection.is_trivial
        for key, value in self._flat.leaves.items():
            if not (trivial or self._selection.takes(key)):
                continue
            name = key if trivial else self._selection.stored_name(key)
            if _is_meta(value):
                value = _with_memory(value)
                self._flat.replace(key, value)
            if is_tensor(value) or hasattr(value, "__create_chunk_list__") or _is_sharded(value):
                made = list(self._maker.load_entries(name, value, metadata))
            else:
                made = [(name,)]
            entries.extend(made)
            self._keys.extend([key] * len(made))
            self._tensors.extend([value if len(entry) > 1 else None for entry in made])
        return entries

    def _flatten(self, state: dict[str, Any], stored: set[str]) -> FlatState:
        flat = _flatten(state, self._planner)
        if not getattr(self._planner, "flatten_state_dict", True):
            return flat
        unexpected = stored - {self._selection.stored_name(key) for key in flat.leaves}
        if unexpected:
            # A checkpoint of torch 2.3 or older keeps dicts without tensors whole.
            old = _state_dict.flatten_v2_3(state, _is_leaf_tensor)
            if unexpected & {self._selection.stored_name(key) for key in old.leaves}:
                return old
        return flat

    def _decode(self, result: dict[str, Any]) -> None:
        self.result = result
        self._maker.finish_load()
        for position, data, destination_box, source_box in result.pop("objects"):
            key = self._keys[position]
            value = _objects.decode(data, key, allow_pickle=self._allow_pickle)
            if destination_box is None:
                self._objects.append((key, value))
            else:
                target = narrow(self._tensors[position].detach(), *destination_box)
                target.copy_(narrow(value, *source_box))


def _is_meta(value: Any) -> bool:
    # A ShardedTensor of several local shards refuses to be asked.
    return is_tensor(value) and not _is_sharded(value) and bool(value.is_meta)


def _with_memory(meta_tensor: Any) -> Any:
    """An empty tensor like `meta_tensor` on the process group's device, as torch makes it."""
    from torch.distributed.checkpoint.planner_helpers import _init_state_dict

    holder = {"tensor": meta_tensor}
    _init_state_dict(holder)
    return holder["tensor"]


def _report(result: dict[str, Any], report: LoadReport | None) -> None:
    casts = {
        key: (str(dtype_of_code(stored)), str(dtype_of_code(loaded)))
        for key, stored, loaded, _ in result["casts"]
    }
    lossy = [key for key, _, _, is_lossy in result["casts"] if is_lossy]
    if lossy:
        stored, loaded = casts[lossy[0]]
        warnings.warn(
            f"{len(lossy)} tensor(s) lose precision or range on loading, e.g. {lossy[0]}: stored "
            f"as {stored}, loaded as {loaded}",
            stacklevel=5,
        )
    if report is not None:
        report.missing[:] = result["missing"]
        report.unexpected[:] = result["unexpected"]
        report.cast.clear()
        report.cast.update(casts)
        report.nbytes_read = result["nbytes_read"]
