"""Saves and loads that run now: to be waited for at the end of the process.

One that runs in a daemon thread would be cut short there, in the middle of libdcp.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator

logger = logging.getLogger("dcpcpp")

_LINE_SECONDS = 15.0  # between log lines while the process waits for its end
_FREE_SECONDS = 2.0  # that a thread may take after its last save or load
_POLL_SECONDS = 0.01


class _Operations:
    """Those of one process. Thread-safe, and usable in a signal handler."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may run in a thread that has it.
        self._changed = threading.Condition(threading.RLock())
        self._saves: list[threading.Thread] = []
        self._loads: list[threading.Thread] = []
        self._ended: weakref.WeakKeyDictionary[threading.Thread, float] = (
            weakref.WeakKeyDictionary()
        )

    @contextlib.contextmanager
    def add(self, *, is_save: bool) -> Iterator[None]:
        running, thread = self._saves if is_save else self._loads, threading.current_thread()
        with self._changed:
            running.append(thread)
        try:
            yield
        finally:
            with self._changed:
                running.remove(thread)
                self._ended[thread] = time.monotonic()
                self._changed.notify_all()

    def ended(self) -> list[tuple[threading.Thread, float]]:
        """Threads whose saves and loads have ended, and when the last one did."""
        with self._changed:
            return list(self._ended.items())

    def wait(self, seconds: float | None, *, loads: bool) -> bool:
        """Whether none runs any more; not for those of this thread, which wait for it."""
        this = threading.current_thread()
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while running := self._saves + (self._loads if loads else []):
                left = None if deadline is None else deadline - time.monotonic()
                if set(running) == {this} or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)
        return True


_operations = _Operations()


def saving() -> contextlib.AbstractContextManager[None]:
    """Around a save."""
    return _operations.add(is_save=True)


def loading() -> contextlib.AbstractContextManager[None]:
    """Around a load."""
    return _operations.add(is_save=False)


def flush(timeout: float | None = None) -> bool:
    """Wait for the saves that run in other threads of this process.

    For a process that is to end, e.g. on SIGTERM with a time of grace.

    Args:
        timeout: seconds to wait at most; None for as long as it takes.

    Returns:
        Whether no save runs any more. What was saved is on the disk then, or its thread
        got the error. Called in a signal handler that interrupted a save in its own
        thread, it is False at once: that save goes on only after the handler.

    Example:
        >>> signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if dcpcpp.flush(30) else 1))
    """
    return _operations.wait(timeout, loads=False)


def _wait_at_exit() -> None:
    seconds = 0.0
    while not _operations.wait(_LINE_SECONDS, loads=True):
        seconds += _LINE_SECONDS
        logger.warning("a save or load still runs %.0f s after the end of the program", seconds)
    # Freeing their tensors while the interpreter goes would end the process by abort().
    for thread, ended in _operations.ended():
        while thread.is_alive() and thread is not threading.current_thread():
            if time.monotonic() - ended > _FREE_SECONDS:
                break
            time.sleep(_POLL_SECONDS)


def _forget() -> None:
    """In a forked process, which has none of the threads."""
    global _operations
    _operations = _Operations()


atexit.register(_wait_at_exit)
os.register_at_fork(after_in_child=_forget)
