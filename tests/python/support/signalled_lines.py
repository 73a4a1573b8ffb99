"""SIGTERM at every line that a call of async_save runs in the trainer's thread."""

from __future__ import annotations

import collections
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import dcpcpp
from support.forked_ranks import Rank
from support.lost_ranks import state_of, value_in
from support.saving import Way
from support.scoreboard import ONE_SECOND

_GRACE = 15.0  # for saves of a few milliseconds
_PACKAGE = str(Path(dcpcpp.__file__).parent)
_NBYTES = 4096


class SignalAtLine:
    """While it lives, SIGTERM comes when this thread is at the n-th line of dcpcpp's code."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.place = ""

    def __enter__(self) -> SignalAtLine:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.place = f"{Path(code.co_filename).name}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGTERM)
        return self._trace


def terminate_at_each_line(
    me: Rank, directory: Path, way: Way, step: int
) -> collections.Counter[str]:
    """How saves ended in whose calls the signal came, at every `step`-th line."""
    outcomes: collections.Counter[str] = collections.Counter()
    waited: list[float] = []

    def drain(*_: object) -> None:
        begun = time.monotonic()
        dcpcpp.flush(_GRACE)
        waited.append(time.monotonic() - begun)
        sys.exit()

    signal.signal(signal.SIGTERM, drain)
    way.save(state_of(0, 0.0, _NBYTES), checkpoint_id=directory)
    number = 1 + step // 2
    while True:
        waited.clear()
        value = value_in(directory, 1, nbytes=_NBYTES) + 1.0
        place = _save_until(number, value, directory, way)
        if not place:
            return outcomes
        what = _judge(value, directory, way)
        if not waited or waited[0] > ONE_SECOND:
            what = f"the handler waited for {waited} s"
        outcomes[what if what in ("old", "new") else f"{what} (line {place})"] += 1
        number += step


def _save_until(number: int, value: float, directory: Path, way: Way) -> str:
    """Where the signal came; empty if the call has fewer lines."""
    at_line = SignalAtLine(number)
    try:
        with at_line:
            way.begin(state_of(0, value, _NBYTES), checkpoint_id=directory)
    except SystemExit:
        return at_line.place
    return at_line.place


def _judge(value: float, directory: Path, way: Way) -> str:
    """What is there now, once no save runs any more, or what is wrong."""
    if not dcpcpp.flush(_GRACE):
        return "a save that does not end"
    found = value_in(directory, 1, nbytes=_NBYTES)
    if found not in (value - 1.0, value):
        return "a mix"
    after = way.begin(state_of(0, value + 1.0, _NBYTES), checkpoint_id=directory)
    try:
        after.result(_GRACE)
    except Exception as error:
        return f"the next save failed: {error!r}"
    if value_in(directory, 1, nbytes=_NBYTES) != value + 1.0:
        return "the next save is not there"
    return "new" if found == value else "old"
