"""Preemption: the process is told to end, and a run saves before it does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Preemption"]


class Preemption:
    """Notices that the process is to end, for a `CheckpointManager` that saves before.

    A context manager: within it a signal is noted, and then handled as it was before, by a
    handler of Python's if there is one; that SIGTERM alone would end the process is what it
    is there to prevent. It suffices that one of a run's ranks gets the signal. Whatever
    else knows of the end, such as a thread that asks a cloud for it, calls `notice`.

    Args:
        signals: which mean that the process is to end soon.

    Example:
        >>> with dcpcpp.Preemption() as preemption:
        ...     manager = dcpcpp.CheckpointManager(config, states, preemption=preemption)
        ...     for step in range(1, steps + 1):
        ...         train()
        ...         manager.save(step)
        ...         if manager.is_preempted:  # on all ranks, and this step is saved
        ...             break
    """

    def __init__(self, signals: Iterable[int] = (signal.SIGTERM,)) -> None:
        self._signals = tuple(signals)
        self._previous: dict[int, Any] = {}
        self._is_noticed = False
        self._process = os.getpid()

    @property
    def is_noticed(self) -> bool:
        """Whether this process is to end. Other ranks may know that theirs is."""
        return self._is_noticed

    def notice(self) -> None:
        """Note that the process is to end soon. In any thread, and in signal handlers."""
        # No lock, which the thread might have that a handler interrupts.
        self._is_noticed = True

    def __enter__(self) -> Preemption:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "signals are handled in the main thread: enter Preemption there, and give it to "
                "the manager; or call its notice() instead of entering it"
            )
        for number in self._signals:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in self._signals:
            # A handler that came later has to go first, and may call this one.
            if signal.getsignal(number) == self._handle:
                previous = self._previous.pop(number)
                # None: it is not Python's, which cannot put it back.
                signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if os.getpid() != self._process:  # forked, e.g. by a DataLoader: to end as it would have
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
            os.kill(os.getpid(), number)
            return
        self.notice()
        if callable(previous):
            previous(number, frame)
