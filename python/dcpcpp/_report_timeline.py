"""The time line on the page of `dcpcpp report`: traces of a save, as plain data.

Each rank's trace is a file of `SaveStats.write_trace`. Nothing of a checkpoint tells when its
parts were written, so there is no time line without them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As for the other parts of the page.
MAX_RANKS = 32
MAX_THREADS = 32  # of a rank
MAX_SPANS = 20_000
WIDTH = 1000  # spans that are closer to each other than this part of the save are one


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of work of one kind, in seconds since the save was called."""

    name: str
    begin: float
    end: float
    nbytes: int = 0


@dataclasses.dataclass(frozen=True)
class Trace:
    """What one rank did.

    Attributes:
        path: of the checkpoint, as the save knew it.
        seconds: that the save took on this rank; None if it had not ended.
        dropped: spans that the trace had no room for.
        phases: seconds by kind of work.
        threads: the spans of each, by begin; those that began first are first.
    """

    rank: int
    path: str
    seconds: float | None
    dropped: int
    phases: dict[str, float]
    threads: list[list[Span]]

    @property
    def until(self) -> float:
        """The end of the save, or of the last span if that is later."""
        return max([self.seconds or 0.0, *(span.end for spans in self.threads for span in spans)])


def timeline_json(files: Sequence[str]) -> dict[str, Any] | None:
    """What the page draws of these traces; None without any.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no trace of a save.
    """
    if not files:
        return None
    traces = sorted((read_trace(file) for file in files), key=lambda trace: trace.rank)
    shown = traces[:MAX_RANKS]
    until = max(trace.until for trace in shown)
    rows = _rows_that_fit(shown, until)
    spans = (span for trace in shown for row in trace.threads for span in row)
    names = list(dict.fromkeys(span.name for span in spans))
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "seconds": until,
        "names": names,
        "rank_count": len(traces),
        "ranks": [
            {
                "rank": trace.rank,
                "path": trace.path,
                "seconds": trace.seconds,
                "dropped": trace.dropped,
                "phases": [trace.phases.get(name, 0.0) for name in names],
                "thread_count": len(trace.threads),
                "threads": [[_span_json(span, numbers) for span in row] for row in threads],
            }
            for trace, threads in zip(shown, rows, strict=True)
        ],
    }


def read_trace(file: str) -> Trace:
    """The trace in a file that `SaveStats.write_trace` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    text = Path(file).read_bytes()
    try:
        content = json.loads(text)
        about, threads = content["otherData"], _threads_of(content["traceEvents"])
        seconds = about["seconds"]
        return Trace(
            rank=_whole(about["rank"]),
            path=_text(about["path"]),
            seconds=None if seconds is None else _time(seconds),
            dropped=_whole(about["dropped"]),
            phases={_text(name): _time(phase) for name, phase in about["phases"].items()},
            threads=threads,
        )
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise ValueError(
            f"{file} is no trace of a save: SaveStats.write_trace writes one for each rank"
        ) from e


def _threads_of(events: list[dict[str, Any]]) -> list[list[Span]]:
    threads: dict[int, list[Span]] = {}
    for event in sorted(events, key=lambda event: _time(event["ts"])):
        begin = _time(event["ts"]) / 1e6
        span = Span(
            _text(event["name"]),
            begin,
            begin + _time(event["dur"]) / 1e6,
            _whole(event["args"].get("nbytes", 0)),
        )
        threads.setdefault(_whole(event["tid"]), []).append(span)
    return list(threads.values())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _time(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _rows_that_fit(traces: Sequence[Trace], until: float) -> list[list[list[Span]]]:
    """Of each trace the spans of each thread that is shown, put together until all fit."""
    gap = until / WIDTH
    while True:
        rows = [[_merged(row, gap) for row in trace.threads[:MAX_THREADS]] for trace in traces]
        if gap >= until or sum(len(row) for threads in rows for row in threads) <= MAX_SPANS:
            return rows
        gap *= 2


def _merged(spans: Sequence[Span], gap: float) -> list[Span]:
    """`spans` with those of a kind as one that are not further apart than `gap`, longest first.

    Where one kind of work happens within another, the shorter is so drawn on top.
    """
    last: dict[str, Span] = {}
    merged = []
    for span in spans:
        before = last.get(span.name)
        if before is None:
            last[span.name] = span
        elif span.begin - before.end <= gap:
            end, nbytes = max(before.end, span.end), before.nbytes + span.nbytes
            last[span.name] = dataclasses.replace(before, end=end, nbytes=nbytes)
        else:
            merged.append(before)
            last[span.name] = span
    merged += last.values()
    return sorted(merged, key=lambda span: span.begin - span.end)


def _span_json(span: Span, numbers: dict[str, int]) -> list[float]:
    return [numbers[span.name], span.begin, span.end, span.nbytes]
