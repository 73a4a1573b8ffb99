"""A thread that alone talks to a group's Store, so that nobody else gets stuck in it.

A call of torch's TCPStore waits without a limit if the process that serves it is stopped.
Here it is a thread that waits then; who asked it something notices that it does not move.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

IDLE_SECONDS = 0.1
_SLICE_SECONDS = 0.25


class StoreSilentError(ConnectionError):
    """The Store has not answered for too long."""


class _Job(Generic[Result]):
    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._result: list[Result] = []

    def run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # for the thread that waits for it
            self._error = error
        self._done.set()

    def wait(self, seconds: float) -> bool:
        return self._done.wait(seconds)

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result[0]


class StoreThread:
    """Does one call after another. Calls come from one thread at a time.

    Args:
        idle: called every IDLE_SECONDS between calls.
    """

    def __init__(self, idle: Callable[[], None]) -> None:
        self._idle = idle
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._progress = 0
        self._last: Callable[[], None] = lambda: None
        self.is_stopping = False
        self._thread = threading.Thread(target=self._run, name="dcpcpp-presence", daemon=True)

    def progressed(self) -> None:
        """Called by work that takes long, in the thread, whenever the Store answered."""
        self._progress += 1

    def call(
        self, work: Callable[[], Result], patience: float, look: Callable[[], None] | None = None
    ) -> Result:
        """Run `work` in the thread; what it returns or raises.

        Args:
            work: may raise any error.
            patience: seconds without progress after which the Store counts as silent.
            look: called now and then meanwhile; if it raises, `work` is left to itself.

        Raises:
            StoreSilentError: it made no progress for too long; it may still be running.
        """
        if not self._thread.is_alive():
            self._thread.start()
        job = _Job(work)
        self._jobs.put(job)
        seen, silent = self._progress, 0.0
        last = time.monotonic()
        while not job.wait(_SLICE_SECONDS):
            now = time.monotonic()
            # A long slice means that this process was stopped, not the Store.
            silent += min(now - last, 2 * _SLICE_SECONDS)
            last = now
            if look is not None:
                look()
            if seen != self._progress:
                seen, silent = self._progress, 0.0
            elif silent >= patience:
                raise StoreSilentError
        return job.result()

    def stop(self, last: Callable[[], None], seconds: float) -> None:
        """End the thread after `last`, and wait for it up to `seconds`.

        It ends later by itself if the Store does not answer now; errors of the Store in
        `last` are nobody's any more.
        """
        self._last = last
        self.is_stopping = True  # from here on it ends, even if Ctrl-C interrupts this
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self.is_stopping:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with contextlib.suppress(OSError, RuntimeError):  # met again by the next call
                    self._idle()
                self._progress += 1
                continue
            if job is not None:
                job.run()
                self._progress += 1
        with contextlib.suppress(OSError, RuntimeError):
            self._last()
