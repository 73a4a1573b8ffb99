"""What trainers do in the tests of async saves by another process."""

from __future__ import annotations

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.staging import StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

import dcpcpp
from dcpcpp._saver import process_saver
from support.forked_ranks import Rank
from support.lost_ranks import NEW, OLD, Ending, attempt, state_of, value_in
from support.saving import saver_process

LARGE = 4 << 20  # bytes of a tensor: a low rate holds back what follows the first MiB
_BYTES_PER_SECOND = 1000.0


def save(state: dict[str, Any], path: Path, **options: Any) -> Any:
    return dcpcpp.async_save(
        state,
        checkpoint_id=path,
        async_checkpointer_type=AsyncCheckpointerType.PROCESS,
        **options,
    )


def save_slowly(state: dict[str, Any], path: Path) -> Any:
    """So that it can be disturbed while the saver writes."""
    writer = dcpcpp.FileSystemWriter(path, max_write_rate=_BYTES_PER_SECOND)
    return dcpcpp.async_save(
        state, storage_writer=writer, async_checkpointer_type=AsyncCheckpointerType.PROCESS
    )


def train_and_save(me: Rank, directory: Path, use_collectives: bool) -> list[int | None]:
    """Saves of two states, one with a fence; the saver's process after each."""
    processes = []
    save(state_of(me.rank, OLD), directory / "0", use_collectives=use_collectives).result()
    processes.append(process_saver().process_id)
    stager = dcpcpp.DefaultStager(StagingOptions(False, False, True, False))
    state = state_of(me.rank, NEW)
    handle = save(state, directory / "1", async_stager=stager, use_collectives=use_collectives)
    with dcpcpp.fence():
        for tensor in state.values():
            tensor.zero_()
    handle.upload_completion.result()
    processes.append(process_saver().process_id)
    stager.close()
    return processes


def save_too_much_on_one_rank(me: Rank, directory: Path, use_collectives: bool) -> list[str]:
    """Saves OLD, and then NEW, which rank 1 may not stage; what the log said."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("dcpcpp").addHandler(handler)
    options = StagingOptions(False, False, False, False)
    for value in (OLD, NEW):
        limit = 0 if me.rank == 1 and value == NEW else None
        stager = dcpcpp.DefaultStager(options, max_staging_bytes=limit)
        state = state_of(me.rank, value)
        future = save(state, directory, async_stager=stager, use_collectives=use_collectives)
        for tensor in state.values():
            tensor.zero_()
        future.result()
    return said


def save_and_be_killed(me: Rank, directory: Path, killed: list[int]) -> Ending:
    """Trainers end as soon as their call returns; how the save ends for the others."""
    save(state_of(me.rank, OLD), directory).result()
    future = save(state_of(me.rank, NEW, LARGE), directory)
    if me.rank in killed:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(future.result)


def lose_savers(me: Rank, directory: Path, number: int, count: int) -> list[LostSaver]:
    """Rank 1's saver gets a signal while it writes, `count` times."""
    return [_lose_saver(me, directory, number, trial) for trial in range(count)]


@dataclass(frozen=True)
class LostSaver:
    """When the signal came, how that save ended, what was there then, and how the next did."""

    at: float
    lost: Ending
    value: float
    after: Ending


def _lose_saver(me: Rank, directory: Path, number: int, trial: int) -> LostSaver:
    save(state_of(me.rank, OLD, LARGE), directory).result()
    future = save_slowly(state_of(me.rank, NEW, LARGE), directory)
    time.sleep(0.02 * (trial % 10))
    at = time.monotonic()  # the same clock on all ranks, and not much later here
    if me.rank == 1:
        os.kill(saver_process(), number)
    lost = attempt(future.result)
    dist.barrier()
    value = value_in(directory, me.world_size, nbytes=LARGE)
    dist.barrier()
    return LostSaver(
        at, lost, value, attempt(lambda: save(state_of(me.rank, NEW, LARGE), directory).result())
    )


class Broken:
    def state_dict(self) -> dict[str, Any]:
        raise LookupError("no state on rank 1")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise AssertionError


def fail_on_one_rank(me: Rank, directory: Path) -> list[Ending]:
    """Rank 1 has no state, then another type of saves than rank 0; then all is well."""
    endings = []
    broken = {"s": Broken()} if me.rank == 1 else {}
    endings.append(attempt(lambda: save({**state_of(me.rank, OLD), **broken}, directory).result()))
    if me.rank == 1:
        state = state_of(me.rank, OLD)
        endings.append(attempt(lambda: dcpcpp.async_save(state, checkpoint_id=directory).result()))
    else:
        endings.append(attempt(lambda: save(state_of(me.rank, OLD), directory).result()))
    endings.append(attempt(lambda: save(state_of(me.rank, NEW), directory).result()))
    return endings
