"""Bars on a terminal, for what takes longer than a second."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

# Called with what is done and what there is in all, in bytes.
Tell = Callable[[int, int], None]

DELAY = 1.0  # seconds


@contextlib.contextmanager
def bar(title: str) -> Iterator[Tell]:
    """Give a function to call with bytes done and bytes in all.

    It shows a bar on standard error, from a second on, if that is a terminal.

    Example:
        >>> with bar("copy") as tell:
        ...     tell(5, 10)
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bars.add_task(title, total=None)
    begin = time.monotonic()

    def tell(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)
        if not bars.live.is_started and time.monotonic() - begin >= DELAY:
            bars.start()

    try:
        yield tell
    finally:
        if bars.live.is_started:
            bars.stop()


@contextlib.contextmanager
def waiting(title: str) -> Iterator[None]:
    """Show `title` and the time that has passed, likewise, while the block is at work.

    For what does not tell how far it is. The block must release the interpreter's lock.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bars.add_task(title, total=None)
    start = threading.Timer(DELAY, bars.start)
    start.start()
    try:
        yield
    finally:
        start.cancel()
        start.join()
        if bars.live.is_started:
            bars.stop()
