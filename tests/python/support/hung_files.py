"""hung://path is a file in memory, whose writing can hang.

with hung_files() as files:
    files.hang(".distcp")
    dcpcpp.save(state, storage_writer=dcpcpp.FsspecWriter("hung://ckpt"))
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


class Hung:
    """Lets what is written to some files wait for ever, or until `release`."""

    def __init__(self) -> None:
        self._gate = threading.Event()
        self._place: str | None = None

    def hang(self, place: str) -> None:
        """From now on, where a file's name has `place` in it."""
        self._gate.clear()
        self._place = place

    def release(self) -> None:
        self._place = None
        self._gate.set()

    def pass_write(self, path: str) -> None:
        if self._place is not None and self._place in path:
            self._gate.wait()


@contextlib.contextmanager
def hung_files() -> Iterator[Hung]:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    hung = Hung()

    class HungFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "hung"
        store: dict[str, Any] = {}  # noqa: RUF012 - as in fsspec
        pseudo_dirs = [""]  # noqa: RUF012

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            file = super()._open(path, mode, **options)
            if "w" in mode:
                write = file.write

                def wait_and_write(data: bytes) -> int:
                    hung.pass_write(path)
                    return int(write(data))

                file.write = wait_and_write
            return file

        def pipe_file(self, path: str, value: bytes, *args: Any, **options: Any) -> Any:
            hung.pass_write(path)
            return super().pipe_file(path, value, *args, **options)

    fsspec.register_implementation("hung", HungFileSystem, clobber=True)
    try:
        yield hung
    finally:
        hung.release()
