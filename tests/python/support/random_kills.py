"""Processes that are killed at random moments of a save over a checkpoint."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.checkpoint.api import CheckpointException

import dcpcpp
from support import lost_ranks
from support.forked_ranks import Job, start_job
from support.lost_ranks import NEW, OLD
from support.scoreboard import ONE_SECOND, Subject

FINE = {"old", "new", "not in flight"}
_JOBS_AT_ONCE = 2


@dataclass(frozen=True)
class Kill:
    """One trial.

    Attributes:
        number: of the trial.
        world_size: how many ranks save.
        ranks: those that are killed.
        moment: when, as a part of the time that a save takes.
    """

    number: int
    world_size: int
    ranks: list[int]
    moment: float


class RandomKills:
    """Trials over checkpoints that are made once.

    Args:
        folder: for checkpoints; empty.
        world_sizes: numbers of ranks to try.
        subject: who saves.
        nbytes: of each tensor. The larger, the more of a save is writing.
    """

    def __init__(
        self, folder: Path, world_sizes: Sequence[int], subject: Subject, nbytes: int
    ) -> None:
        self._nbytes = nbytes
        self._folder = folder
        self._world_sizes = world_sizes
        self._subject = subject
        for size in world_sizes:
            arguments = (folder / f"old-{size}", subject, nbytes)
            with start_job(size, lost_ranks.save_old, *arguments) as job:
                job.all_told()
        with ThreadPoolExecutor(_JOBS_AT_ONCE) as pool:
            seconds = list(pool.map(self._time_save, [*world_sizes] * 3))
        self._seconds = {
            size: statistics.median(seconds[index :: len(world_sizes)])
            for index, size in enumerate(world_sizes)
        }

    def run(self, count: int, seed: int) -> collections.Counter[str]:
        """How `count` kills ended, and those that came too late, which are not counted."""
        outcomes: collections.Counter[str] = collections.Counter()
        kills = self._draw(random.Random(seed))
        with ThreadPoolExecutor(_JOBS_AT_ONCE) as pool:
            while (missing := count - outcomes.total() + outcomes["not in flight"]) > 0:
                outcomes.update(pool.map(self._try, itertools.islice(kills, missing)))
        return outcomes

    def _draw(self, draw: random.Random) -> Iterator[Kill]:
        for number in itertools.count():
            size = draw.choice(self._world_sizes)
            ranks = draw.choice([list(range(size)), [draw.randrange(size)]])
            yield Kill(number, size, ranks, draw.uniform(0.0, 1.05))

    def _time_save(self, world_size: int) -> float:
        """Seconds from "go" to the end of a save that nobody kills."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            directory = Path(folder) / "saved"
            shutil.copytree(self._folder / f"old-{world_size}", directory)
            with self._saving(world_size, directory) as job:
                begun = time.monotonic()
                return float(max(job.all_told()) - begun)

    @contextlib.contextmanager
    def _saving(self, world_size: int, directory: Path) -> Iterator[Job]:
        """A job that has just begun to save NEW to `directory`."""
        arguments = (directory, self._subject, self._nbytes)
        with start_job(world_size, lost_ranks.save_new_at_go, *arguments, timeout=20) as job:
            for rank in range(world_size):
                job.wait_for(f"ready-{rank}")
            job.mark("go")
            yield job

    def _try(self, kill: Kill) -> str:
        directory = self._folder / str(kill.number)
        shutil.copytree(self._folder / f"old-{kill.world_size}", directory)
        try:
            return self._outcome(kill, directory)
        finally:
            shutil.rmtree(directory)

    def _outcome(self, kill: Kill, directory: Path) -> str:
        size, subject = kill.world_size, self._subject
        with self._saving(size, directory) as job:
            time.sleep(kill.moment * self._seconds[size])
            for rank in kill.ranks:
                os.kill(job.pids[rank], signal.SIGKILL)
            killed_at = time.monotonic()
            was_done = all((job.folder / f"told-{rank}").exists() for rank in kill.ranks)
            endings = [job.told(rank) for rank in range(size) if rank not in kill.ranks]
        if was_done:
            return "not in flight"
        if subject == "dcpcpp" and any(ended_at - killed_at > ONE_SECOND for ended_at in endings):
            return "a survivor noticed it late"
        return self._what_is_in(directory, size)

    def _what_is_in(self, directory: Path, world_size: int) -> str:
        try:
            value = lost_ranks.value_in(directory, world_size, self._subject, self._nbytes)
        except ValueError:  # more than one
            return "a mix"
        except (Exception, CheckpointException):
            return "unreadable"
        if self._subject == "dcpcpp" and not self._next_save_works(directory, world_size):
            return "the next save failed"
        return {OLD: "old", NEW: "new"}.get(value, "a mix")

    def _next_save_works(self, directory: Path, world_size: int) -> bool:
        """Whether a save by one process works, and leaves its own files alone."""
        state = {
            name: value
            for rank in range(world_size)
            for name, value in lost_ranks.state_of(rank, 3.0, self._nbytes).items()
        }
        dcpcpp.save(state, checkpoint_id=directory, no_dist=True)
        value = lost_ranks.value_in(directory, world_size, nbytes=self._nbytes)
        return value == 3.0 and len(list(directory.iterdir())) == 3
