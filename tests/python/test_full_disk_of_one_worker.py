"""A disk that is full for one of a save's writers only: the save fails, and the old one stands."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem

from support import faults
from support.saving import SUFFIX, How, Way
from support.scoreboard import Subject, report


class FullForOneWorker(torch_filesystem.FileSystem):
    """Local files, but what one of a save's data files takes goes to /dev/full."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number  # of the data files that a save opens
        self.opened = 0

    @contextlib.contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        if mode == "wb" and str(path).endswith(".distcp"):
            if self.opened == self.number:
                path = Path("/dev/full")
            self.opened += 1
        with super().create_stream(Path(path), mode) as stream:
            yield stream


WORKERS = 4


def one_worker_fails(directory: Path, number: int, way: Way) -> str:
    """How a save ends that has no space for one of its files: "refused", or what is wrong."""
    library = way.library
    old = {str(key): torch.full((1000,), float(key)) for key in range(WORKERS)}
    library.save(old, checkpoint_id=directory)
    writer = library.FileSystemWriter(directory, thread_count=WORKERS, sync_files=False)
    writer.fs = FullForOneWorker(number)
    try:
        way.save({key: -value for key, value in old.items()}, storage_writer=writer)
        end = "false OK"
    except library.CheckpointException as error:
        cause = error.failures[0][0]
        known = isinstance(cause, OSError) and cause.errno == errno.ENOSPC
        end = "refused" if known else f"unclear: {cause!r}"
    state = {key: torch.zeros(1000) for key in old}
    try:
        library.load(state, checkpoint_id=directory)
    except library.CheckpointException:
        return "old lost"
    return end if faults.same(state, old) else f"{end}, old lost"


@pytest.mark.row("R8")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["save", "thread"])
@pytest.mark.parametrize("subject", ["dcpcpp", "stock"])
def test_a_disk_that_is_full_for_one_worker_only_fails_the_save(
    tmp_path: Path, how: How, subject: Subject
) -> None:
    ends = [
        one_worker_fails(tmp_path / str(number), number, Way(how, subject))
        for number in range(WORKERS)
    ]
    bad = sum(end != "refused" for end in ends)
    note = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    trial = f"one of {WORKERS} files has no space (/dev/full){SUFFIX[how]}"
    report("R8", trial, count=WORKERS, bad=bad, seed=0, subject=subject, note=note)
    assert subject == "stock" or bad == 0, note
