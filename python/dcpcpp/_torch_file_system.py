"""libdcp's FileSystem over a torch FileSystemBase: for writers and readers whose `fs` is set.

Trainers do that to reach object stores: the S3 connector, GCS, NVIDIA's storage client.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from typing import Any

from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp import _core
from dcpcpp._local_files import sync_directory
from dcpcpp._storage_errors import with_storage_errors
from dcpcpp.errors import CheckpointCorruptedError


class TorchFileSystem(_core.FileSystem):
    """Files behind the few calls that torch's FileSystemBase has.

    What derives from torch's own FileSystem has local files, which are renamed; the
    others may be object stores, where `.metadata` is written under its own name, last.

    Args:
        fs: torch.distributed.checkpoint.filesystem.FileSystemBase.
        rank: whose data files are looked for if `fs` cannot list a directory.
    """

    def __init__(self, fs: Any, rank: int) -> None:
        super().__init__()
        self._fs = fs
        self._rank = rank

    def traits(self) -> tuple[str, bool, bool, bool]:
        is_local = isinstance(self._fs, torch_filesystem.FileSystem)
        return (type(self._fs).__name__, False, is_local, is_local)

    @with_storage_errors
    def open(self, path: str, mode: str) -> _TorchFile:
        if mode == "create" and self._fs.exists(path):
            raise FileExistsError(17, "File exists", path)
        return _TorchFile(path, self._fs.create_stream(path, "rb" if mode == "read" else "wb"))

    @with_storage_errors
    def make_directories(self, path: str) -> None:
        self._fs.mkdir(path)

    @with_storage_errors
    def list(self, path: str) -> list[tuple[str, bool]]:
        if hasattr(self._fs, "ls"):
            return [(os.fspath(name).rsplit("/", 1)[-1], False) for name in self._fs.ls(path)]
        found: list[tuple[str, bool]] = []
        while self._fs.exists(
            self._fs.concat_path(path, name := f"__{self._rank}_{len(found)}.distcp")
        ):
            found.append((name, False))
        return found

    @with_storage_errors
    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(path))

    @with_storage_errors
    def rename(self, source: str, target: str) -> None:
        self._fs.rename(source, target)

    @with_storage_errors
    def remove(self, path: str) -> None:
        self._fs.rm_file(path)

    @with_storage_errors
    def sync_directory(self, path: str) -> None:
        """Make the names in a local directory durable."""
        # Where `fs` gives files other names, this one may not be there.
        with contextlib.suppress(FileNotFoundError):
            sync_directory(path)


class _TorchFile:
    def __init__(self, path: str, context: Any) -> None:
        self._path = path
        self._context = context
        self._stream = context.__enter__()
        self._position = 0
        self._lock = threading.Lock()  # around seek and read

    @with_storage_errors
    def read_into(self, offset: int, buffer: memoryview) -> None:
        nbytes = len(buffer)
        with self._lock:
            self._stream.seek(offset)
            while len(buffer) > 0:
                data = self._stream.read(len(buffer))
                if not data:
                    raise CheckpointCorruptedError(
                        f"{self._path} ends before byte {offset + nbytes}",
                        self._path,
                        offset,
                        nbytes,
                    )
                buffer[: len(data)] = data
                buffer = buffer[len(data) :]

    @with_storage_errors
    def write(self, offset: int, buffer: memoryview) -> None:
        if offset != self._position:
            raise ValueError(
                f"{self._path}: write at byte {offset}, but the file ends at {self._position}"
            )
        # Some streams keep what they are given; the buffer is reused.
        self._stream.write(bytes(buffer))
        self._position += len(buffer)

    @with_storage_errors
    def size(self) -> int:
        with self._lock:
            return int(self._stream.seek(0, io.SEEK_END))

    @with_storage_errors
    def sync(self) -> None:
        self._stream.flush()
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            os.fsync(self._stream.fileno())

    @with_storage_errors
    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def discard(self) -> None:
        """Leave the stream as an error does, so that it can give up what it has."""
        error = OSError("the save failed; this file is given up")
        with contextlib.suppress(Exception):
            self._context.__exit__(type(error), error, None)
