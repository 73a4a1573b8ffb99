"""The async saves of this process: one after the other, in a thread of their own.

1. A save is put into the queue by the call that staged it, and its future is what the
   caller has of it. All ranks put their saves in the same order, so the ranks meet in it.
2. An error is logged as soon as it is there. Who asks the future for it has seen it; else
   the next save, `flush` or `close` raises it: nobody misses that a checkpoint is lost.
3. A rank may know of the failure of a save before another does, and raise it in its call
   of the next one, while the other puts that one into the queue. So a save whose
   predecessor failed unseen fails with the same error, and the ranks agree.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from dcpcpp._in_flight import saving, wait_for_saves
from dcpcpp._process_future import ProcessFuture

logger = logging.getLogger("dcpcpp")

_IDLE_SECONDS = 5.0  # that the thread stays for another save


class SaveFuture(ProcessFuture):
    """The `Future[Metadata]` of an async save; knows whether somebody looked at its error."""

    def __init__(self) -> None:
        super().__init__()
        self.was_seen = False

    def result(self, timeout: float | None = None) -> Any:
        """See `concurrent.futures.Future`."""
        try:
            return super().result(timeout)
        except BaseException as error:
            # Not an end of the wait, after which the save may have failed as well.
            self.was_seen = self.was_seen or (self.done() and super().exception() is error)
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future`."""
        error = super().exception(timeout)
        self.was_seen = True
        return error

    def unseen_error(self) -> BaseException | None:
        """What went wrong, if nobody knows it yet; from then on somebody does."""
        if self.was_seen or not self.done():
            return None
        return self.exception()


class _Save:
    def __init__(self, run: Callable[[BaseException | None], Any], used: object) -> None:
        self.run = run
        self.used = used
        self.future = SaveFuture()
        self.in_flight = contextlib.ExitStack()


class SaveQueue:
    """Of one process. Thread-safe, also where a signal handler raises in a caller's thread."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._waiting: collections.deque[_Save] = collections.deque()
        self._running: _Save | None = None
        self._last: SaveFuture | None = None
        self._thread: threading.Thread | None = None

    def put(self, run: Callable[[BaseException | None], Any], used: object = None) -> SaveFuture:
        """Have `run` called in the thread, after those before; its result is the future's.

        Args:
            run: gets the error of the save before if nobody saw it. It fails with that, and
                tells the other ranks. Where the system has no thread to give, it is called
                here.
            used: what it uses that must not be changed before; see `wait_until_unused`.
        """
        save = _Save(run, used)
        with self._changed:
            thread = self._thread or self._start_thread()
            if thread is not None:
                self._enqueue(save, thread)
                return save.future
            self._running = save
        save.in_flight.enter_context(saving())
        self._carry_out(save)
        return save.future

    def get_ready(self) -> None:
        """Start the thread ahead of `put`; beside a thread that runs Python that takes long."""
        with self._changed:
            if self._thread is None:
                self._start_thread()

    def is_interrupted(self) -> bool:
        """Whether this is a signal handler in a thread that changes the queue."""
        return bool(self._mutex._is_owned())  # type: ignore[attr-defined]  # as in Condition

    def wait_until_at_most(self, count: int) -> None:
        """Return once at most `count` saves run or wait for their turn."""
        with self._changed:
            while self._count() > count:
                self._changed.wait()

    def wait_until_unused(self, used: object) -> None:
        """Return once no save runs or waits for its turn that uses `used`; None is nobody's."""
        with self._changed:
            while used is not None and any(save.used is used for save in self._saves()):
                self._changed.wait()

    def is_busy(self) -> bool:
        """Whether a save runs or waits."""
        with self._changed:
            return self._count() > 0

    def raise_unseen(self) -> None:
        """Raise the error of the last save that has ended, if nobody saw it."""
        error = self._unseen()
        if error is not None:
            raise error

    def settle(self) -> None:
        """Wait for all saves, and raise what nobody saw; nothing in the thread itself."""
        if threading.current_thread() is not self._thread:
            self.wait_until_at_most(0)
            self.raise_unseen()

    def _unseen(self) -> BaseException | None:
        return self._last.unseen_error() if self._last is not None else None

    def _count(self) -> int:
        return len(self._saves())

    def _saves(self) -> list[_Save]:
        running = self._running
        if running is None or running.future.done():
            return list(self._waiting)
        return [running, *self._waiting]

    def _start_thread(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._work, name="dcpcpp-async-save", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # a limit on threads
            self._thread = None
            return None
        except BaseException:  # a signal handler's: the thread may run, and ends at once
            self._thread = None
            raise
        return thread

    def _enqueue(self, save: _Save, thread: threading.Thread) -> None:
        try:
            save.in_flight.enter_context(saving(thread))
            self._waiting.append(save)
            self._changed.notify_all()
        except BaseException:  # a signal handler's: nobody gets the future
            if save in self._waiting:
                self._waiting.remove(save)
            save.in_flight.close()
            raise

    def _work(self) -> None:
        while (save := self._next()) is not None:
            self._carry_out(save)
            del save  # with what it staged

    def _carry_out(self, save: _Save) -> None:
        error = self._unseen()
        self._last = save.future  # before it is done, or who waits for that might miss its error
        try:
            save.future.set_result(save.run(error))
        except BaseException as failure:
            logger.error("an asynchronous save failed: %s", failure)
            save.future.set_exception(failure)
        save.in_flight.close()
        with self._changed:
            self._running = None
            self._changed.notify_all()

    def _next(self) -> _Save | None:
        with self._changed:
            while self._thread is threading.current_thread() and not self._waiting:
                if not self._changed.wait(_IDLE_SECONDS) and not self._waiting:
                    self._thread = None
            if self._thread is not threading.current_thread():
                return None
            self._running = self._waiting.popleft()
            self._running.future.set_running_or_notify_cancel()
            return self._running


_queue = SaveQueue()


def save_queue() -> SaveQueue:
    """The process's queue."""
    return _queue


def flush(timeout: float | None = None) -> bool:
    """Wait for the saves that run in the background or in other threads of this process.

    For a process that is to end, e.g. on SIGTERM with a time of grace.

    Args:
        timeout: seconds to wait at most; None for as long as it takes.

    Returns:
        Whether no save runs any more. What was saved is on the disk then, or its thread
        got the error. Called in a signal handler that interrupted a save in its own
        thread, or a call of async_save, it is False at once where that can only go on after
        the handler.

    Raises:
        CheckpointException: an async save failed, and nobody looked at its future.

    Example:
        >>> signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if dcpcpp.flush(30) else 1))
    """
    if _queue.is_interrupted():
        return False
    is_done = wait_for_saves(timeout)
    _queue.raise_unseen()
    return is_done


def _forget() -> None:
    """In a forked process, which has not got the thread."""
    global _queue
    _queue = SaveQueue()


os.register_at_fork(after_in_child=_forget)
