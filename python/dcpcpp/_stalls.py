"""What async saves cost the training loop: how long it waited, and how slow its steps were."""

from __future__ import annotations

import collections
import dataclasses
import time

from dcpcpp._save_queue import save_queue

_KEPT_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class StallReport:
    """See `stall_report`. Times are in seconds.

    Attributes:
        saves: async saves so far.
        blocked: time in `async_save` calls.
        fenced: time in fences, waiting for copies.
        steps: steps that were timed.
        steps_beside_saves: those of them during which a save ran.
        step_seconds: median of the other steps; None without any.
        slowdown_seconds: what the steps beside saves took above that median, in sum.
        slowdown: the same as a fraction of the median step; None without steps of both kinds.
    """

    saves: int
    blocked: float
    fenced: float
    steps: int
    steps_beside_saves: int
    step_seconds: float | None
    slowdown_seconds: float
    slowdown: float | None


class Stalls:
    """Of one process, fed by the training thread."""

    def __init__(self) -> None:
        self._calls: list[float] = []
        self._fenced = 0.0
        self._excluded = 0.0  # waited since the last step
        self._last: float | None = None
        self._was_busy = False
        self._fed_by_user = False
        self._alone: collections.deque[float] = collections.deque(maxlen=_KEPT_STEPS)
        self._beside: collections.deque[float] = collections.deque(maxlen=_KEPT_STEPS)

    def add_call(self, seconds: float) -> None:
        """A call of async_save took `seconds`."""
        self._calls.append(seconds)
        self._excluded += seconds

    def add_wait(self, seconds: float) -> None:
        """A fence waited for `seconds`."""
        self._fenced += seconds
        self._excluded += seconds

    def step(self, *, by_hook: bool = False) -> None:
        """A training step has ended."""
        if by_hook and self._fed_by_user:
            return
        self._fed_by_user = self._fed_by_user or not by_hook
        now, busy = time.perf_counter(), save_queue().is_busy()
        if self._last is not None:
            seconds = now - self._last - self._excluded
            (self._beside if busy or self._was_busy else self._alone).append(seconds)
        self._last, self._was_busy, self._excluded = now, busy, 0.0

    def report(self) -> StallReport:
        """So far."""
        import statistics  # slow to import, and seldom needed

        usual = statistics.median(self._alone) if self._alone else None
        slower = None
        if usual is not None and self._beside:
            slower = statistics.mean(self._beside) - usual
        return StallReport(
            saves=len(self._calls),
            blocked=sum(self._calls),
            fenced=self._fenced,
            steps=len(self._alone) + len(self._beside),
            steps_beside_saves=len(self._beside),
            step_seconds=usual,
            slowdown_seconds=0.0 if slower is None else slower * len(self._beside),
            slowdown=None if slower is None or not usual else slower / usual,
        )


_stalls = Stalls()


def stalls() -> Stalls:
    """The process's."""
    return _stalls


def step() -> None:
    """Tell that a training step has ended, for `stall_report`.

    Not needed with `fence(optimizer)`, whose hook does it.
    """
    _stalls.step()


def stall_report() -> StallReport:
    """What async saves have cost this process's training loop so far.

    Example:
        >>> for batch in data:
        ...     train(batch)
        ...     dcpcpp.step()
        >>> print(dcpcpp.stall_report())
    """
    return _stalls.report()
