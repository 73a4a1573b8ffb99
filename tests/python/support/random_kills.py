"""Processes that are killed at random moments of a save over a checkpoint."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support import lost_ranks
from support.disturbed_saves import HEARTBEAT, JOBS_AT_ONCE, DisturbedSaves, saver_of
from support.forked_ranks import Job
from support.saving import Way
from support.scoreboard import ONE_SECOND

FINE = {"old", "new", "not in flight"}
Victims = Literal["trainers", "savers", "both"]
_VICTIMS: tuple[Victims, ...] = ("trainers", "savers", "both")


@dataclass(frozen=True)
class Kill:
    """One trial.

    Attributes:
        number: of the trial.
        world_size: how many ranks save.
        ranks: those that are killed.
        victims: which processes of these ranks.
        moment: when, as a part of the time that a save takes.
    """

    number: int
    world_size: int
    ranks: list[int]
    victims: Victims
    moment: float


class RandomKills:
    """Trials over checkpoints that are made once. The arguments are DisturbedSaves'."""

    def __init__(self, folder: Path, world_sizes: Sequence[int], way: Way) -> None:
        self._world_sizes = world_sizes
        self._way = way
        self._saves = DisturbedSaves(folder, world_sizes, way)

    def run(self, count: int, seed: int) -> collections.Counter[str]:
        """How `count` kills ended, and those that came too late, which are not counted."""
        outcomes: collections.Counter[str] = collections.Counter()
        kills = self._draw(random.Random(seed))
        with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
            while (missing := count - outcomes.total() + outcomes["not in flight"]) > 0:
                outcomes.update(pool.map(self._try, itertools.islice(kills, missing)))
        return outcomes

    def _draw(self, draw: random.Random) -> Iterator[Kill]:
        for number in itertools.count():
            size = draw.choice(self._world_sizes)
            ranks = draw.choice([list(range(size)), [draw.randrange(size)]])
            victims = draw.choice(_VICTIMS if self._way.how == "process" else _VICTIMS[:1])
            yield Kill(number, size, ranks, victims, draw.uniform(0.0, 1.05))

    def _try(self, kill: Kill) -> str:
        size = kill.world_size
        with self._saves.copy(kill.number, size) as directory:
            with self._saves.begun(size, directory, lost_ranks.save_new_at_go) as job:
                time.sleep(kill.moment * self._saves.seconds(size))
                what = self._kill(job, kill)
            return what or self._saves.what_is_in(directory, size)

    def _kill(self, job: Job, kill: Kill) -> str:
        """What is wrong with how the survivors end, or "not in flight", or nothing."""
        savers = [saver_of(job, rank) for rank in kill.ranks if kill.victims != "trainers"]
        trainers = [rank for rank in kill.ranks if kill.victims != "savers"]
        for process in (*(job.pids[rank] for rank in trainers), *savers):
            with contextlib.suppress(ProcessLookupError):  # a saver ends with its trainer
                os.kill(process, signal.SIGKILL)
        killed_at = time.monotonic()
        was_done = all((job.folder / f"told-{rank}").exists() for rank in kill.ranks)
        survivors = [rank for rank in range(kill.world_size) if rank not in trainers]
        endings = [job.told(rank) for rank in survivors]
        if was_done:
            return "not in flight"
        late = self._way.subject == "dcpcpp" and any(
            ended_at - killed_at > self._patience(kill) for ended_at in endings
        )
        return "a survivor noticed it late" if late else ""

    def _patience(self, kill: Kill) -> float:
        """How long survivors may take to end.

        A saver does its part for a trainer that was killed. It misses another saver whose
        trainer is gone as well, or did not come to give it its order, by its signs of life.
        """
        if self._way.how != "process" or kill.victims == "savers":
            return ONE_SECOND
        return ONE_SECOND + HEARTBEAT + self._saves.seconds(kill.world_size)
