"""held://path is the local file `path`, whose writing can be held back.

with held_files() as held:
    future = dcpcpp.async_save(state, checkpoint_id=f"held://{path}")
    held.wait_until_begun()
    held.release()
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


class Held:
    """Holds back writes until `release`; `error`, if set, is raised in their place."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._released = threading.Event()
        self.error: Exception | None = None

    def wait_until_begun(self) -> None:
        assert self._begun.wait(30)

    def release(self) -> None:
        self._released.set()

    def pass_write(self) -> None:
        self._begun.set()
        assert self._released.wait(60)
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def held_files() -> Iterator[Held]:
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    held = Held()

    class HeldFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "held"
        cachable = False

        def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            if mode[0] != "r":
                held.pass_write()
            return super()._open(path, mode, **kwargs)

        @classmethod
        def _strip_protocol(cls, path: str) -> Any:
            return super()._strip_protocol(path.removeprefix("held://"))

    fsspec.register_implementation("held", HeldFiles, clobber=True)
    try:
        yield held
    finally:
        held.release()
