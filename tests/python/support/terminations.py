"""Trainers that get SIGTERM beside an async save, and drain it for a time of grace.

A trainer's handler is that of the documentation of `dcpcpp.flush`; a stock trainer waits
for its future. When the grace is over the trainer is killed, as a scheduler does.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException

import dcpcpp
from support.disturbed_saves import JOBS_AT_ONCE, DisturbedSaves
from support.forked_ranks import Rank
from support.lost_ranks import get_ready
from support.saving import Way
from support.scoreboard import within

_LONG = 20.0  # as a time of grace: more than any save takes


@dataclass(frozen=True)
class Drained:
    """How a trainer ended.

    Attributes:
        was_over: the save had ended before the signal came.
        had_begun: the call had returned.
        is_done: what the trainer took for its exit code: whether no save runs any more.
        seconds: that the handler waited.
    """

    was_over: bool
    had_begun: bool
    is_done: bool
    seconds: float


def train_until_sigterm(me: Rank, directory: Path, way: Way, grace: float) -> Drained:
    """Saves NEW once "go" is marked, and goes on until the signal comes."""
    futures: list[Future[Any]] = []
    drained: list[Drained] = []

    def drain(*_: object) -> None:
        was_over = any(future.done() for future in futures)
        begun = time.monotonic()
        is_done = _wait(way, futures, grace)
        seconds = time.monotonic() - begun
        drained.append(Drained(was_over, bool(futures), is_done, seconds))
        sys.exit(0 if is_done else 1)

    state = get_ready(me, way)
    with contextlib.suppress(SystemExit):
        signal.signal(signal.SIGTERM, drain)
        me.mark(f"training-{me.rank}")
        me.wait_for("go")
        futures.append(way.begin(state, checkpoint_id=directory))
        while True:
            time.sleep(0.001)
    return drained[0]


def _wait(way: Way, futures: list[Future[Any]], grace: float) -> bool:
    try:
        if way.subject == "dcpcpp":
            return dcpcpp.flush(grace)
        for future in futures:
            future.result(grace)
    except (Exception, CheckpointException):
        return False
    return True


class Terminations:
    """Trials over checkpoints that are made once. The arguments are DisturbedSaves'."""

    def __init__(self, folder: Path, world_sizes: Sequence[int], way: Way) -> None:
        self._world_sizes = world_sizes
        self._saves = DisturbedSaves(folder, world_sizes, way)

    def run(self, count: int, seed: int) -> collections.Counter[str]:
        """How `count` saves ended, and those that were over already, which are not counted."""
        outcomes: collections.Counter[str] = collections.Counter()
        tries = self._draw(random.Random(seed))
        with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
            while (missing := count - outcomes.total() + outcomes["not in flight"]) > 0:
                outcomes.update(pool.map(lambda call: call(), itertools.islice(tries, missing)))
        return outcomes

    def _draw(self, draw: random.Random) -> Iterator[Callable[[], str]]:
        for number in itertools.count():
            size = draw.choice(self._world_sizes)
            seconds = self._saves.seconds(size)
            moment = draw.uniform(0.0, 1.05) * seconds
            grace = draw.choice([0.0, draw.uniform(0.0, seconds), _LONG])
            yield functools.partial(self._try, number, size, moment, grace)

    def _try(self, number: int, size: int, moment: float, grace: float) -> str:
        with self._saves.copy(number, size) as directory:
            with self._saves.begun(size, directory, train_until_sigterm, grace) as job:
                for rank in range(size):
                    job.wait_for(f"training-{rank}")
                time.sleep(moment)
                for pid in job.pids:
                    os.kill(pid, signal.SIGTERM)
                drained = job.all_told()
            if any(each.was_over for each in drained):
                return "not in flight"
            if any(each.seconds > grace + within(0.5) for each in drained):
                return "later than the grace"
            return _judge(drained, self._saves.what_is_in(directory, size))


def _judge(drained: list[Drained], found: str) -> str:
    if found not in ("old", "new"):
        return found
    if not all(each.had_begun for each in drained):
        return f"in the call, {found}"
    if any(each.is_done for each in drained):
        return "done, new" if found == "new" else "said to be done, and is not"
    return f"abandoned, {found}"


FINE = {"not in flight", "done, new", "in the call, old", "in the call, new"} | {
    "abandoned, old",
    "abandoned, new",
}
