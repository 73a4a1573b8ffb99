"""libdcp's FileSystem over fsspec: `scheme://` paths."""

from __future__ import annotations

from typing import Any

from dcpcpp import _core


class FsspecFileSystem(_core.FileSystem):
    """Files of an fsspec file system, written from front to back.

    Object stores publish an object whole when it is closed and cannot rename, so the
    commit is the writing of `.metadata` itself, last.
    """

    def __init__(self, fs: Any) -> None:
        super().__init__()
        self._fs = fs

    def traits(self) -> tuple[str, bool, bool, bool]:
        protocol = self._fs.protocol
        name = protocol if isinstance(protocol, str) else protocol[0]
        return (f"fsspec:{name}", False, False, False)

    def open(self, path: str, mode: str) -> _FsspecFile:
        if mode == "read":
            return _FsspecFile(self._fs, path, None)
        if mode == "create" and self._fs.exists(path):
            raise FileExistsError(17, "File exists", path)
        return _FsspecFile(self._fs, path, self._fs.open(path, "wb"))

    def make_directories(self, path: str) -> None:
        self._fs.makedirs(path, exist_ok=True)

    def list(self, path: str) -> list[tuple[str, bool]]:
        self._fs.invalidate_cache(path)
        return [
            (entry["name"].rstrip("/").rsplit("/", 1)[-1], entry["type"] == "directory")
            for entry in (self._fs.ls(path, detail=True) if self._fs.exists(path) else [])
        ]

    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(path))

    def rename(self, source: str, target: str) -> None:
        self._fs.mv(source, target)

    def remove(self, path: str) -> None:
        self._fs.rm_file(path)


class _FsspecFile:
    def __init__(self, fs: Any, path: str, stream: Any) -> None:
        self._fs = fs
        self._path = path
        self._stream = stream
        self._position = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        data = self._fs.cat_file(self._path, start=offset, end=end)
        if len(data) != len(buffer):
            raise _core_corruption(self._path, offset, len(buffer), len(data))
        buffer[:] = data

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

    def size(self) -> int:
        self._fs.invalidate_cache(self._path)
        size = self._fs.size(self._path) if self._fs.exists(self._path) else None
        if size is None:
            raise FileNotFoundError(2, "No such file or directory", self._path)
        return int(size)

    def sync(self) -> None:
        """Nothing: an object is durable when it was published, on close."""

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _core_corruption(path: str, offset: int, wanted: int, got: int) -> Exception:
    from dcpcpp.errors import CheckpointCorruptedError

    return CheckpointCorruptedError(
        f"{path} ends before byte {offset + wanted} (only {got} bytes from {offset} on)",
        path,
        offset,
        wanted,
    )
