"""States that are being staged now, and the fence that waits for them."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from dcpcpp._process_future import ProcessFuture
from dcpcpp._stalls import stalls
from dcpcpp._stats import SaveStats


class Staged(Protocol):
    """What `async_save` copies in the background."""

    def wait_staged(self, timeout: float | None) -> bool:
        """Whether the state may be changed; waits for it."""
        ...


class _InProgress:
    """Of one process. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._staged: list[Copying] = []

    def add(self, staged: Copying) -> None:
        with self._mutex:
            self._staged.append(staged)

    def wait(self) -> None:
        """Return once nothing reads the states any more; what fails, its save reports."""
        while (staged := self._first()) is not None:
            begin = time.perf_counter()
            staged.done.exception()  # is not raised: the save tells all ranks of it
            end = time.perf_counter()
            stalls().add_wait(end - begin)
            staged.stats.add("fence", begin, end)
            with self._mutex:
                if staged in self._staged:
                    self._staged.remove(staged)

    def _first(self) -> Copying | None:
        with self._mutex:
            return self._staged[0] if self._staged else None


_in_progress = _InProgress()


def wait_for_staged() -> None:
    """Return once no state that was given to `async_save` is read any more."""
    _in_progress.wait()


class Fence:
    """Before in-place updates: waits until no async save reads the tensors. See `fence`."""

    def __init__(self, optimizer: Any = None) -> None:
        self._hook = None
        if optimizer is not None:
            self._hook = optimizer.register_step_pre_hook(self._before_step)

    def remove(self) -> None:
        """Take the hook off the optimizer."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def __enter__(self) -> Fence:
        wait_for_staged()
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    @staticmethod
    def _before_step(*_: object) -> None:
        wait_for_staged()
        stalls().step(by_hook=True)


def fence(optimizer: Any = None) -> Fence:
    """Keep in-place updates from tensors that an async save still reads.

    Args:
        optimizer: its `step` waits from now on, by a pre-hook; `remove()` ends that. None:
            for `with`, around updates of any kind.

    Example:
        >>> dcpcpp.fence(optimizer)
        >>> with dcpcpp.fence():
        ...     ema.update(model)
    """
    return Fence(optimizer)


class Copying:
    """A copy that the staging thread begins, and that libdcp or a stager makes.

    Attributes:
        done: done when the state may be changed.
        stats: of the save.
    """

    def __init__(
        self,
        begin: Callable[[], Staged],
        begun: Future[Any],
        stats: SaveStats,
        wait_more: Callable[[Any], None] | None,
    ) -> None:
        self.stats = stats
        self.done = ProcessFuture()
        try:
            _staging_thread.submit(_begin_and_wait, begin, begun, wait_more, self.done)
        except RuntimeError:  # a limit on threads
            _replace_staging_thread()  # or the next one would wait for a save that will not come
            raise

    def wait_staged(self, timeout: float | None = None) -> bool:
        """Whether the state may be changed; waits for it."""
        return is_done(self.done, timeout)


def is_done(future: Future[Any], timeout: float | None) -> bool:
    """Whether `future` is done, after `timeout` seconds at most; raises its error."""
    try:
        future.result(timeout)
    except concurrent.futures.TimeoutError:  # not the built-in one before Python 3.11
        if not future.done():
            return False
        raise
    return True


def _begin_and_wait(
    begin: Callable[[], Staged],
    begun: Future[Any],
    wait_more: Callable[[Any], None] | None,
    done: ProcessFuture,
) -> None:
    try:
        staged = begin()
    except BaseException as error:
        begun.set_exception(error)
        done.set_exception(error)
        return
    begun.set_result(staged)
    try:
        staged.wait_staged(None)
        if wait_more is not None:
            wait_more(staged)
    except BaseException as error:
        done.set_exception(error)
    else:
        del staged  # before anybody takes its memory for free
        done.set_result(None)


def in_staging_thread(
    begin: Callable[[], Staged],
    stats: SaveStats,
    wait_more: Callable[[Any], None] | None = None,
) -> tuple[Copying, Future[Any]]:
    """Have `begin` called in the background; fences wait for the copy.

    Args:
        begin: begins to copy.
        stats: of the save.
        wait_more: what they wait for as well, of what `begin` returns.

    Returns:
        The copy, and the future of what `begin` returns; the copy does not hold that,
        because its memory is wanted for the next one when the save is done.
    """
    begun: Future[Any] = Future()
    copying = Copying(begin, begun, stats, wait_more)
    _in_progress.add(copying)
    return copying, begun


def _new_staging_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="dcpcpp-staging")


_staging_thread = _new_staging_thread()


def _replace_staging_thread() -> None:
    global _staging_thread
    _staging_thread = _new_staging_thread()


def _forget() -> None:
    """In a forked process, which has not got the threads."""
    global _in_progress
    _in_progress = _InProgress()
    _replace_staging_thread()


os.register_at_fork(after_in_child=_forget)
