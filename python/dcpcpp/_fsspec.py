"""libdcp's FileSystem over fsspec: `scheme://` paths."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from dcpcpp import _core
from dcpcpp._local_files import sync_directory
from dcpcpp._storage_errors import with_storage_errors
from dcpcpp.errors import CheckpointCorruptedError


class FsspecFileSystem(_core.FileSystem):
    """Files of an fsspec file system, written from front to back.

    Object stores publish an object whole and cannot rename, so the commit is the writing
    of `.metadata` itself, last. Local files are renamed.
    """

    def __init__(self, fs: Any) -> None:
        super().__init__()
        self._fs = fs
        self._is_local = "file" in _protocols(fs)

    def traits(self) -> tuple[str, bool, bool, bool]:
        return (f"fsspec:{_protocols(self._fs)[0]}", False, self._is_local, self._is_local)

    @with_storage_errors
    def open(self, path: str, mode: str) -> _FsspecFile:
        if mode == "read":
            return _FsspecFile(self._fs, path, None)
        if mode == "replace":
            return _FsspecFile(self._fs, path, _WholeObject(self._fs, path))
        if self._fs.exists(path):
            raise FileExistsError(17, "File exists", path)
        return _FsspecFile(self._fs, path, self._fs.open(path, "wb"))

    @with_storage_errors
    def make_directories(self, path: str) -> None:
        self._fs.makedirs(path, exist_ok=True)

    @with_storage_errors
    def list(self, path: str) -> list[tuple[str, bool]]:
        self._fs.invalidate_cache(path)
        entries = self._fs.ls(path, detail=True) if self._fs.exists(path) else []
        if len(entries) == 1 and self._is_file(entries[0], path):
            raise FileNotFoundError(20, "Not a directory", path)  # there is none of this name
        return [
            (entry["name"].rstrip("/").rsplit("/", 1)[-1], entry["type"] == "directory")
            for entry in entries
        ]

    def _is_file(self, entry: dict[str, Any], path: str) -> bool:
        """Whether `entry` is of `path` itself: what fsspec lists of a file."""
        names = (self._fs._strip_protocol(name).strip("/") for name in (entry["name"], path))
        return entry["type"] != "directory" and len(set(names)) == 1

    @with_storage_errors
    def exists(self, path: str) -> bool:
        self._fs.invalidate_cache(path)  # other processes write there, too
        return bool(self._fs.exists(path))

    @with_storage_errors
    def rename(self, source: str, target: str) -> None:
        self._fs.mv(source, target)

    @with_storage_errors
    def remove(self, path: str) -> None:
        self._fs.rm_file(path)

    @with_storage_errors
    def sync_directory(self, path: str) -> None:
        """Make the names in a local directory durable."""
        sync_directory(self._fs._strip_protocol(path))


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


class _FsspecFile:
    def __init__(self, fs: Any, path: str, stream: Any) -> None:
        self._fs = fs
        self._path = path
        self._stream = stream
        self._position = 0

    @with_storage_errors
    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        data = self._fs.cat_file(self._path, start=offset, end=end)
        if len(data) != len(buffer):
            raise CheckpointCorruptedError(
                f"{self._path} ends before byte {end} (only {len(data)} bytes from {offset} on)",
                self._path,
                offset,
                len(buffer),
            )
        buffer[:] = data

    @with_storage_errors
    def write(self, offset: int, buffer: memoryview) -> None:
        if offset != self._position:
            raise ValueError(
                f"{self._path}: write at byte {offset}, but the file ends at {self._position}"
            )
        # Some file systems keep what they are given; the buffer is reused.
        written = self._stream.write(bytes(buffer))
        if written != len(buffer):
            raise OSError(5, f"short write of {written} of {len(buffer)} bytes", self._path)
        self._position += len(buffer)

    @with_storage_errors
    def size(self) -> int:
        self._fs.invalidate_cache(self._path)
        size = self._fs.size(self._path) if self._fs.exists(self._path) else None
        if size is None:
            raise FileNotFoundError(2, "No such file or directory", self._path)
        return int(size)

    @with_storage_errors
    def sync(self) -> None:
        """Make a local file durable. An object is when it was published, on close."""
        if "file" in _protocols(self._fs):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    @with_storage_errors
    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def discard(self) -> None:
        """Give up what was written; its name is removed by who made it."""
        if self._stream is None:
            return
        with contextlib.suppress(Exception):  # the first error is the one to report
            self._stream.discard()
        with contextlib.suppress(AttributeError):
            # Otherwise the garbage collector closes it, which would publish it.
            self._stream.closed = True


class _WholeObject(io.BytesIO):
    """An object that replaces another one, in one request: never in part."""

    def __init__(self, fs: Any, path: str) -> None:
        super().__init__()
        self._fs = fs
        self._path = path

    def close(self) -> None:
        if not self.closed:
            self._fs.pipe_file(self._path, self.getvalue())
        super().close()

    def discard(self) -> None:
        super().close()

    def __del__(self) -> None:
        super().close()
