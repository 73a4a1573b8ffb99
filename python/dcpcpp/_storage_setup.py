"""From a checkpoint id to the storage that serves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch.distributed.checkpoint.storage import StorageReader, StorageWriter

from dcpcpp import _plugins
from dcpcpp._filesystem_storage import FileSystemReader, FileSystemWriter
from dcpcpp._hugging_face_storage import HuggingFaceStorageReader, ReaderByContent
from dcpcpp._text import is_url

# What `format=` may be, and who reads it; None: whatever is there.
_FORMATS: dict[str | None, Callable[[Any], StorageReader]] = {
    None: ReaderByContent,
    "dcp": FileSystemReader,
    "hf": HuggingFaceStorageReader,
}

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
    if is_url(checkpoint_id):
        from dcpcpp._fsspec_storage import FsspecWriter

        return FsspecWriter(_known_url(checkpoint_id))
    assert checkpoint_id is not None
    return FileSystemWriter(checkpoint_id)


def choose_reader(
    reader: StorageReader | None,
    checkpoint_id: str | os.PathLike[str] | None,
    file_format: str | None = None,
) -> StorageReader:
    """As choose_writer, for reading.

    Raises:
        RuntimeError: see choose_writer.
        ValueError: `file_format` is not one, or does not go with the other arguments.
    """
    if file_format not in _FORMATS:
        raise ValueError(f"format is None, 'dcp' or 'hf', not {file_format!r}")
    if file_format is not None and (reader is not None or is_url(checkpoint_id)):
        raise ValueError("format goes with the path of a directory, not with a reader or URL")
    if reader is not None:
        if checkpoint_id is not None:
            reader.reset(checkpoint_id)
        return reader
    if _plugins.serves(_required(checkpoint_id)):
        from dcpcpp._plugin_storage import PluginReader

        return PluginReader(str(checkpoint_id))
    if is_url(checkpoint_id):
        from dcpcpp._fsspec_storage import FsspecReader

        return FsspecReader(_known_url(checkpoint_id))
    return _FORMATS[file_format](checkpoint_id)


def _required(checkpoint_id: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if not checkpoint_id:
        raise RuntimeError(
            "`checkpoint_id` must be specified if storage_reader/storage_writer is None."
        )
    return checkpoint_id


def _known_url(url: Any) -> str:
    try:
        from fsspec.core import url_to_fs

        url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise RuntimeError(f"{_NOT_DETECTED} ({url}: {error})") from error
    return str(url)
