"""Saves and loads that run now: to be waited for at the end of the process.

One that runs in a daemon thread would be cut short there, in the middle of libdcp.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
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
        self._saves: dict[object, threading.Thread] = {}
        self._loads: dict[object, threading.Thread] = {}
        self._ended: weakref.WeakKeyDictionary[threading.Thread, float] = (
            weakref.WeakKeyDictionary()
        )

    @contextlib.contextmanager
    def add(self, *, is_save: bool, thread: threading.Thread | None = None) -> Iterator[None]:
        running = self._saves if is_save else self._loads
        thread = thread or threading.current_thread()
        entry = object()
        try:  # from here on, because a signal handler may raise
            with self._changed:
                running[entry] = thread
            yield
        finally:
            with self._changed:
                running.pop(entry, None)
                self._ended[thread] = time.monotonic()
                self._changed.notify_all()

    def ended(self) -> list[tuple[threading.Thread, float]]:
        """Threads whose saves and loads have ended, and when the last one did."""
        with self._changed:
            return list(self._ended.items())

    def wait(self, seconds: float | None, *, loads: bool) -> bool:
        """Whether none runs any more; not for those of this thread, which wait for it."""
        this = threading.current_thread()
        if seconds is not None and math.isnan(seconds):
            raise ValueError("the timeout is nan seconds")
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while running := {*self._saves.values(), *(self._loads.values() if loads else ())}:
                left = None if deadline is None else deadline - time.monotonic()
                if running == {this} or (left is not None and left <= 0):
                    return False
                self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
        return True


_operations = _Operations()


def saving(thread: threading.Thread | None = None) -> contextlib.AbstractContextManager[None]:
    """Around a save in this thread, or in `thread`, which is to do it."""
    return _operations.add(is_save=True, thread=thread)


def loading() -> contextlib.AbstractContextManager[None]:
    """Around a load."""
    return _operations.add(is_save=False)


def wait_for_saves(timeout: float | None = None) -> bool:
    """Whether no save runs any more, after `timeout` seconds at most."""
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
