"""What trainers do in the tests of async saves by another process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.staging import StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

import dcpcpp
from dcpcpp._saver import process_saver
from support.forked_ranks import Rank
from support.lost_ranks import NEW, OLD, Ending, attempt, state_of

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


def save_and_be_killed(me: Rank, directory: Path, killed: list[int]) -> Ending:
    """Trainers end as soon as their call returns; how the save ends for the others."""
    save(state_of(me.rank, OLD), directory).result()
    future = save(state_of(me.rank, NEW, LARGE), directory)
    if me.rank in killed:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(future.result)


def lose_saver(me: Rank, directory: Path, number: int) -> list[Ending]:
    """Rank 1's saver gets a signal while it writes; how that save ends, and the next."""
    save(state_of(me.rank, OLD, LARGE), directory).result()
    future = save_slowly(state_of(me.rank, NEW, LARGE), directory)
    if me.rank == 1:
        process = process_saver().process_id
        assert process is not None
        os.kill(process, number)
    lost = attempt(future.result)
    me.mark(f"lost-{me.rank}")
    me.wait_for("again")
    return [lost, attempt(lambda: save(state_of(me.rank, NEW, LARGE), directory).result())]


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
