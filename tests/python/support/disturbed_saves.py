"""Saves over a checkpoint that a test disturbs at random moments, and what is there then.

saves = DisturbedSaves(folder, [2, 4], Way("thread"))
with saves.copy(number, 2) as directory:
    with saves.begun(2, directory, lost_ranks.save_new_at_go) as job:
        time.sleep(0.5 * saves.seconds(2))
        os.kill(job.pids[1], signal.SIGKILL)
    print(saves.what_is_in(directory, 2))
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException

import dcpcpp
from support import lost_ranks
from support.forked_ranks import Function, Job, is_running, start_job
from support.lost_ranks import NEW, OLD
from support.saving import Way

JOBS_AT_ONCE = 2
HEARTBEAT = 2.0  # of savers: who is left of them misses the others by that
_SAVER_SECONDS = 60.0
_TIMINGS = 3


class DisturbedSaves:
    """Checkpoints that are made once, and jobs that save over copies of them.

    Args:
        folder: for checkpoints; empty.
        world_sizes: numbers of ranks.
        way: of the saves.
    """

    def __init__(self, folder: Path, world_sizes: Sequence[int], way: Way) -> None:
        self._folder = folder
        self._way = way
        for size in world_sizes:
            with start_job(size, lost_ranks.save_old, self._old(size), way) as job:
                job.all_told()
        with ThreadPoolExecutor(JOBS_AT_ONCE) as pool:
            seconds = list(pool.map(self._time_save, [*world_sizes] * _TIMINGS))
        self._seconds = {
            size: statistics.median(seconds[index :: len(world_sizes)])
            for index, size in enumerate(world_sizes)
        }

    def seconds(self, world_size: int) -> float:
        """From "go" to the end of a save that nobody disturbs."""
        return self._seconds[world_size]

    @contextlib.contextmanager
    def copy(self, number: int, world_size: int) -> Iterator[Path]:
        """A copy of the checkpoint, while the block runs."""
        directory = self._folder / str(number)
        shutil.copytree(self._old(world_size), directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    @contextlib.contextmanager
    def begun(
        self, world_size: int, directory: Path, function: Function, *arguments: Any
    ) -> Iterator[Job]:
        """A job that has just begun to save NEW to `directory`.

        It runs `function(me, directory, way, *arguments)`, which calls get_ready(). After the
        block neither its ranks run any more nor their savers.
        """
        environment = {"DCPCPP_HEARTBEAT_TIMEOUT": str(HEARTBEAT)} if self._has_savers else {}
        savers: list[int] = []
        arguments = (directory, self._way, *arguments)
        with start_job(
            world_size, function, *arguments, timeout=20, environment=environment
        ) as job:
            for rank in range(world_size):
                job.wait_for(f"ready-{rank}")
            savers = [saver_of(job, rank) for rank in range(world_size) if self._has_savers]
            job.mark("go")
            yield job
        deadline = time.monotonic() + _SAVER_SECONDS
        while any(is_running(saver) for saver in savers):
            assert time.monotonic() < deadline, "a saver does not end"
            time.sleep(0.002)

    @property
    def _has_savers(self) -> bool:
        return self._way.how == "process"

    def what_is_in(self, directory: Path, world_size: int) -> str:
        """ "old" or "new", or what is wrong."""
        way = self._way
        try:
            value = self._value_in(directory, world_size)
        except ValueError:  # more than one
            return "a mix"
        except (Exception, CheckpointException):
            return "unreadable"
        if way.subject == "dcpcpp" and not self._next_save_works(directory, world_size):
            return "the next save failed"
        return {OLD: "old", NEW: "new"}.get(value, "a mix")

    def _old(self, world_size: int) -> Path:
        return self._folder / f"old-{world_size}"

    def _time_save(self, world_size: int) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            directory = Path(folder) / "saved"
            shutil.copytree(self._old(world_size), directory)
            with self.begun(world_size, directory, lost_ranks.save_new_at_go) as job:
                begun = time.monotonic()
                return float(max(job.all_told()) - begun)

    def _next_save_works(self, directory: Path, world_size: int) -> bool:
        """Whether a save by one process works, and leaves its own files alone."""
        state = {
            name: value
            for rank in range(world_size)
            for name, value in lost_ranks.state_of(rank, 3.0, self._way.nbytes).items()
        }
        dcpcpp.save(state, storage_writer=self._way.writer(directory), no_dist=True)
        is_there = self._value_in(directory, world_size) == 3.0
        # Data and checksums, and what a native checkpoint has beside them. An overwrite of
        # safetensors makes a directory beside the checkpoint's.
        files = {"native": 3, "safetensors": 2}[self._way.file_format]
        beside = list(directory.parent.glob(f".{directory.name}.*"))
        return is_there and len(list(directory.iterdir())) == files and not beside

    def _value_in(self, directory: Path, world_size: int) -> float:
        way = self._way
        return lost_ranks.value_in(directory, world_size, way.subject, way.nbytes, way.file_format)


def saver_of(job: Job, rank: int) -> int:
    """The process that saves for a rank that has got ready."""
    (mark,) = job.folder.glob(f"saver-{rank}-*")
    return int(mark.name.rpartition("-")[2])
