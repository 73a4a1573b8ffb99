"""Who carries out a save or load, libdcp by itself or torch's protocol; what both ways share."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint import default_planner
from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp import _hugging_face_storage, _hugging_face_writer, _state_dict
from dcpcpp._filesystem_storage import FileSystemReader, FileSystemWriter
from dcpcpp._io_options import has_own_extensions, has_plain_files, is_zstd
from dcpcpp._native_reader import NativeReader
from dcpcpp._native_writer import NativeWriter
from dcpcpp._state_dict import FlatState
from dcpcpp._tensors import is_tensor


def is_default(planner: Any, default: type[Any]) -> bool:
    """Whether `planner` is torch's default with nothing overridden."""
    return planner is None or (type(planner) is default and not _patched(planner, default))


def _patched(instance: Any, default: type[Any]) -> bool:
    """Whether somebody set a method on the instance."""
    return any(callable(getattr(default, name, None)) for name in vars(instance))


def is_plain_files(writer: Any) -> bool:
    """Whether `writer` writes files of this machine."""
    return isinstance(writer, torch_filesystem.FileSystemWriter) and has_plain_files(writer)


def _is_unchanged(storage: Any, plain_class: type[Any]) -> bool:
    """Whether `storage` is one of our classes, as it was made."""
    ours = type(storage).__module__.startswith("dcpcpp.")
    plain = type(storage) is not plain_class or has_plain_files(storage)
    return ours and plain and not _patched(storage, type(storage))


def native_writer(writer: Any) -> NativeWriter | None:
    """Libdcp's equivalent of `writer`, None if its behaviour is somebody's own."""
    if isinstance(writer, NativeWriter):
        return writer if _is_unchanged(writer, FileSystemWriter) else None
    if has_plain_files(writer) and not _patched(writer, type(writer)):
        hugging_face = _hugging_face_writer.ours_for(writer)
        if hugging_face is not None:
            return hugging_face
    kind = torch_filesystem.FileSystemWriter
    if type(writer) is not kind or not has_plain_files(writer) or _patched(writer, kind):
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


def native_reader(reader: Any) -> NativeReader | None:
    """Libdcp's equivalent of `reader`, None if its behaviour is somebody's own."""
    if isinstance(reader, NativeReader):
        return reader if _is_unchanged(reader, FileSystemReader) else None
    if has_plain_files(reader) and not _patched(reader, type(reader)):
        ours = _hugging_face_storage.ours_for(reader)
        if ours is not None:
            return ours
    kind = torch_filesystem.FileSystemReader
    if type(reader) is not kind or not has_plain_files(reader) or _patched(reader, kind):
        return None
    if has_own_extensions(getattr(getattr(reader, "transforms", None), "extension_registry", None)):
        return None
    return FileSystemReader(reader.path)


def saves_natively(writer: Any, planner: Any) -> bool:
    """Whether libdcp saves with `writer` (None: the one that fits the path) and `planner`."""
    known = writer is None or native_writer(writer) is not None
    return known and is_default(planner, default_planner.DefaultSavePlanner)


def loads_natively(reader: Any, planner: Any) -> bool:
    """As saves_natively, for loading."""
    known = reader is None or native_reader(reader) is not None
    return known and is_default(planner, default_planner.DefaultLoadPlanner)


def is_sharded(value: object) -> bool:
    """Whether `value` is a ShardedTensor, or looks like one."""
    return hasattr(value, "local_shards")


def is_leaf_tensor(value: object) -> bool:
    """Whether a list that holds `value` is descended into."""
    return is_tensor(value) or is_sharded(value)


def has_tensors(value: object) -> bool:
    """Whether a leaf is saved as tensors, not as an object."""
    return is_leaf_tensor(value) or hasattr(value, "__create_write_items__")


def flatten(state_dict: dict[str, Any], planner: Any) -> FlatState:
    """The leaves of `state_dict` by flat key, as `planner` wants them."""
    if getattr(planner, "flatten_state_dict", True):
        return _state_dict.flatten(state_dict, is_leaf_tensor)
    return _state_dict.not_flattened(state_dict)
