"""From a checkpoint id to the storage that serves it."""

from __future__ import annotations

import os
from typing import Any

from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from dcpcpp import _plugins
from dcpcpp._filesystem_storage import FileSystemReader, FileSystemWriter

_NOT_DETECTED = (
    "Cannot detect which StorageReader or StorageWriter to use. "
    "Please specify the storage_reader/storage_writer."
)


def choose_writer(
    writer: StorageWriter | None, checkpoint_id: str | os.PathLike[str] | None
) -> StorageWriter:
    """`writer`, pointed at `checkpoint_id` if that is given, or the writer that fits.

    Raises:
        RuntimeError: neither is given, or no writer knows the id.
    """
    if writer is not None:
        if checkpoint_id is not None:
            writer.reset(checkpoint_id)
        return writer
    if _plugins.serves(_required(checkpoint_id)):
        from dcpcpp._plugin_storage import PluginWriter

        return PluginWriter(str(checkpoint_id))
    if _is_url(checkpoint_id):
        from dcpcpp._fsspec_storage import FsspecWriter

        return FsspecWriter(_known_url(checkpoint_id))
    assert checkpoint_id is not None
    return FileSystemWriter(checkpoint_id)


def choose_reader(
    reader: StorageReader | None, checkpoint_id: str | os.PathLike[str] | None
) -> StorageReader:
    """As choose_writer, for reading."""
    if reader is not None:
        if checkpoint_id is not None:
            reader.reset(checkpoint_id)
        return reader
    if _plugins.serves(_required(checkpoint_id)):
        from dcpcpp._plugin_storage import PluginReader

        return PluginReader(str(checkpoint_id))
    if _is_url(checkpoint_id):
        from dcpcpp._fsspec_storage import FsspecReader

        return FsspecReader(_known_url(checkpoint_id))
    assert checkpoint_id is not None
    return FileSystemReader(checkpoint_id)


def _required(checkpoint_id: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if not checkpoint_id:
        raise RuntimeError(
            "`checkpoint_id` must be specified if storage_reader/storage_writer is None."
        )
    return checkpoint_id


def _is_url(checkpoint_id: object) -> bool:
    return isinstance(checkpoint_id, str) and "://" in checkpoint_id


def _known_url(url: Any) -> str:
    try:
        from fsspec.core import url_to_fs

        url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise RuntimeError(f"{_NOT_DETECTED} ({url}: {error})") from error
    return str(url)
