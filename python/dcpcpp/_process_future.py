"""ProcessFuture: what an async save gives its caller, and none of the caller's children."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any


class ProcessFuture(Future):  # type: ignore[type-arg]  # generic in the stubs only
    """A future that a forked child gets an error of, in whose process nothing will end it.

    Not of what had ended before the fork.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._has_ended = False

    def result(self, timeout: float | None = None) -> Any:
        """See `concurrent.futures.Future`."""
        self._require_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future`."""
        self._require_process()
        return super().exception(timeout)

    def done(self) -> bool:
        """See `concurrent.futures.Future`."""
        return self._has_ended or (os.getpid() == self._process and super().done())

    def cancel(self) -> bool:
        """False: the other ranks count on this one."""
        return False

    def set_result(self, result: Any) -> None:
        """See `concurrent.futures.Future`."""
        super().set_result(result)
        self._has_ended = True

    def set_exception(self, exception: BaseException | None) -> None:
        """See `concurrent.futures.Future`."""
        super().set_exception(exception)
        self._has_ended = True

    def _require_process(self) -> None:
        if self._has_ended or os.getpid() == self._process:
            return
        raise RuntimeError(
            f"this async save is one of process {self._process}, which began it before it forked, "
            "and is not in the child"
        )
