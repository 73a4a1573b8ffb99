"""What a save did and how long it took, for `stats=`, for the log, and as a trace."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import threading
import time

from dcpcpp import _core

logger = logging.getLogger("dcpcpp")

_MICROSECONDS = 1e6


class SaveStats:
    """What a save did on this rank; `save(..., stats=s)` and `async_save` fill one.

    Attributes:
        rank: in the group that saved.
        path: of the checkpoint.
        nbytes: written by this rank, in data files.
        seconds: from the call to the end of the save; None while it runs.
        phases: seconds by kind of work, each counted once however many threads were at it:
            "call" (of an async save), "fence", "copy" (into staging memory),
            "hand over" (waiting until the saver has it, with PROCESS), "plan", "fill"
            (what is stored, and checksums), "submit", "write", "sync", "meet" (waiting for
            the other ranks), "commit".
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A save begins: forget what was here of another one."""
        self.rank = 0
        self.path = ""
        self.seconds: float | None = None
        self.trace = _core.Trace()
        self._begin = time.perf_counter()
        self._own: list[tuple[str, float, float, int, int]] = []

    @property
    def nbytes(self) -> int:
        return sum(nbytes for name, *_, nbytes in self.trace.spans() if name == "write")

    @property
    def phases(self) -> dict[str, float]:
        times: dict[str, list[tuple[float, float]]] = {}
        for name, begin, end, *_ in self._spans():
            times.setdefault(name, []).append((begin, end))
        return {name: _covered(some) for name, some in times.items()}

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file that tells what each thread of this rank did when.

        For chrome://tracing, https://ui.perfetto.dev, and `dcpcpp report --trace`.
        """
        events = [
            {
                "name": name,
                "ph": "X",
                "ts": begin * _MICROSECONDS,
                "dur": (end - begin) * _MICROSECONDS,
                "pid": self.rank,
                "tid": thread,
                "args": {"nbytes": nbytes} if nbytes else {},
            }
            for name, begin, end, thread, nbytes in self._spans()
        ]
        about = {
            "rank": self.rank,
            "path": self.path,
            "seconds": self.seconds,
            "phases": self.phases,
            "dropped": self.trace.dropped,
        }
        content = {"traceEvents": events, "otherData": about}
        pathlib.Path(path).write_text(json.dumps(content))

    def add(self, name: str, begin: float, end: float) -> None:
        """Work of Python's that belongs to the save, by `time.perf_counter`."""
        thread = threading.get_native_id()
        self._own.append((name, begin - self._begin, end - self._begin, thread, 0))

    def finish(self, rank: int, path: object) -> None:
        """The save is done: tell the log."""
        self.rank, self.path = rank, str(path)
        self.seconds = time.perf_counter() - self._begin
        logger.info("%s", self)

    def _spans(self) -> list[tuple[str, float, float, int, int]]:
        return [*self._own, *self.trace.spans()]

    def __str__(self) -> str:
        if self.seconds is None:
            return "a save that has not ended"
        rate = self.nbytes / self.seconds / 1e9
        phases = ", ".join(f"{name} {seconds:.3f}" for name, seconds in self.phases.items())
        return (
            f"saved {self.path}: rank {self.rank} wrote {self.nbytes:,} bytes in "
            f"{self.seconds:.3f} s ({rate:.2f} GB/s); seconds of {phases}"
        )

    __repr__ = __str__


def _covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of `spans`."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
