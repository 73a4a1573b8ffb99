"""async_save: torch.distributed.checkpoint's call; the copy and the save are libdcp's."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlanner
from torch.distributed.checkpoint.staging import AsyncStager
from torch.distributed.checkpoint.storage import StorageWriter

from dcpcpp import _core
from dcpcpp._async_job import AsyncJob
from dcpcpp._calls import require_state_dict, runs_alone, stateful_to_state_dict
from dcpcpp._default_stager import DefaultStager
from dcpcpp._devices import StreamMark
from dcpcpp._native_path import saves_natively
from dcpcpp._native_save import SaveJob
from dcpcpp._native_writer import NativeWriter
from dcpcpp._save_queue import save_queue
from dcpcpp._saver import process_saver, require_saved_by_process
from dcpcpp._selection import Patterns, Rename, Selection
from dcpcpp._staged import Staged, in_staging_thread, is_done
from dcpcpp._stalls import stalls
from dcpcpp._stats import SaveStats
from dcpcpp._storage_setup import choose_writer
from dcpcpp._torch_async import AsyncCheckpointerType, AsyncSaveResponse, StagingOptions
from dcpcpp.errors import CheckpointBusyError

__all__ = ["AsyncSaveHandle", "async_save"]

IfBusy = Literal["queue", "wait", "refuse"]
# How many saves may run or wait when another one is put behind them.
_ROOM: dict[IfBusy, int] = {"queue": 1, "wait": 0}
_Response: TypeAlias = "Future[Metadata] | AsyncSaveResponse"


@dataclasses.dataclass
class AsyncSaveHandle(AsyncSaveResponse):
    """torch's `AsyncSaveResponse`, with a fence.

    Attributes:
        staging_completion: done when the state may be changed.
        upload_completion: the `Metadata`, once it is on the disk.
    """

    staged: Staged = dataclasses.field(repr=False)

    def wait_staged(self, timeout: float | None = None) -> bool:
        """Whether the state may be changed; waits for it, `timeout` seconds at most."""
        return self.staged.wait_staged(timeout)


def async_save(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    async_checkpointer_type: AsyncCheckpointerType = AsyncCheckpointerType.THREAD,
    async_stager: AsyncStager | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    export_dtype: torch.dtype | None = None,
    compression: str | None = None,
    stats: SaveStats | None = None,
    if_busy: IfBusy = "queue",
) -> Future[Metadata] | AsyncSaveResponse:
    """Save a copy of a distributed state dict in the background; collective.

    Mirrors `torch.distributed.checkpoint.async_save` (2.13). The call copies the state and
    returns; planning, writing and the commit happen in a thread that needs the GIL for
    moments only, and talk to the other ranks through the group's Store, so no collective of
    the training is disturbed. Saves follow each other in the order of the calls.

    Args:
        state_dict: as for `save`.
        checkpoint_id: as for `save`.
        storage_writer: as for `save`. One that runs under torch's protocol serves one save at
            a time: the call waits for the one before.
        planner: as for `save`.
        process_group: as for `save`.
        async_checkpointer_type: THREAD; or PROCESS, for files of this machine: the copy is
            made into memory that a small program of libdcp shares, which saves it and carries
            that through if this process is killed, from when all ranks have given it their
            copies. The call, or the fence, waits for that, too; not behind an earlier save,
            which ends first. The ranks must share the directory. Where a rank's copy does
            not fit the memory (`max_staging_bytes`), all ranks save as with THREAD: the
            save ends with them, and a warning in the log says so. (Unlike torch's, the
            process is no copy of this one, and needs no process group.)
        async_stager: makes the copy. None: as `DefaultStager(StagingOptions(False, False,
            False, False))`: the copy is complete when the call returns. A
            `dcpcpp.DefaultStager` with `use_async_staging` has the call return before: see
            `AsyncSaveHandle.wait_staged` and `fence`. Stagers of others make the copy
            themselves.
        no_dist: as for `save`.
        use_collectives: as for `save`.
        include: as for `save`.
        exclude: as for `save`.
        rename: as for `save`.
        export_dtype: as for `save`.
        compression: as for `save`.
        stats: as for `save`.
        if_busy: while an earlier async save runs: "queue" this one, which waits only if
            another one is queued already; "wait" for it to end; or "refuse".

    Returns:
        A future of the Metadata; or, with asynchronous staging, an `AsyncSaveHandle`.

    Raises:
        CheckpointBusyError: `if_busy="refuse"`, and an async save runs.
        CheckpointException: an earlier async save failed, and nobody looked at its future.
        What `state_dict()` methods and the choice of the storage raise. In these cases the
            future of the other ranks fails, and names this rank.

    Example:
        >>> future = dcpcpp.async_save({"model": model}, checkpoint_id="/ckpt/step-7")
        >>> future.result()
    """
    begin = time.perf_counter()
    if if_busy not in ("queue", "wait", "refuse"):
        raise ValueError(f'if_busy is "queue", "wait" or "refuse", not {if_busy!r}')
    by_process = async_checkpointer_type is AsyncCheckpointerType.PROCESS
    alone = runs_alone(no_dist, "save", stacklevel=3)
    job = AsyncJob(process_group, use_dist=not alone, use_collectives=use_collectives)
    try:
        with _told_to_others(job, natively=saves_natively(storage_writer, planner), alone=alone):
            _make_room(if_busy, storage_writer)
            writer = choose_writer(storage_writer, checkpoint_id)
            save = SaveJob(
                writer,
                planner,
                Selection(include, exclude, rename),
                export_dtype=export_dtype,
                compression=compression,
                stats=stats,
            )
            if by_process:
                require_saved_by_process(writer, is_native=save.is_native)
                save.saver = process_saver()
            stager = _stager_for(async_stager, writer, save)
            require_state_dict(state_dict)
            state = stateful_to_state_dict(state_dict)
            if save.is_native and isinstance(stager, DefaultStager):
                enqueue = _stage_natively(job, save, state, stager)
            else:
                enqueue = _stage_by(stager, job, save, state, writer, planner)
        # From here on the others meet this rank in the save, whatever its caller gets.
        response = enqueue()
    finally:
        stalls().add_call(time.perf_counter() - begin)
    save.stats.add("call", begin, time.perf_counter())
    return response


@contextlib.contextmanager
def _told_to_others(job: AsyncJob, *, natively: bool, alone: bool) -> Iterator[None]:
    """Tells the ranks that save with this one of an error, and raises it."""
    try:
        yield
    except Exception as error:
        if not alone:
            group = None if natively else job.own_group()
            tell = job.tell if natively else functools.partial(job.tell_by_protocol, group)
            save_queue().put(functools.partial(tell, error)).was_seen = True
        raise


def _make_room(if_busy: IfBusy, storage: StorageWriter | None) -> None:
    save_queue().raise_unseen()
    if if_busy == "refuse":
        if save_queue().is_busy():
            raise CheckpointBusyError('an async save runs, and if_busy is "refuse"')
    else:
        save_queue().wait_until_at_most(_ROOM[if_busy])
    save_queue().wait_until_unused(storage)


def _stager_for(stager: AsyncStager | None, writer: StorageWriter, save: SaveJob) -> AsyncStager:
    """The caller's, or torch's rule, with our stager in the place of torch's default."""
    if stager is not None:
        return stager
    if isinstance(writer, AsyncStager) and not save.writes_natively:
        return writer
    return _BLOCKING


def _stage_natively(
    job: AsyncJob, save: SaveJob, state: dict[str, Any], stager: DefaultStager
) -> Callable[[], _Response]:
    """Begins to copy; what is left of the call then."""
    writer = save.make_core_writer(beside_training=True)
    # One that is behind another gets to the saver when that is done.
    is_next = not save_queue().is_busy()
    if not stager.is_async:
        save.warn_if_exists(use_collectives=job.use_collectives, stacklevel=5)
        staged = _copy(job, save, state, stager)

        def wait_for_copy() -> _Response:
            upload = save_queue().put(functools.partial(job.write, save, writer, staged))
            staged.wait_staged(None)
            if is_next:
                job.wait_handed_over(save, staged)
            return upload

        return wait_for_copy
    mark = StreamMark(state)

    def copy() -> _core.StagedState:
        with mark.as_current():
            return _copy(job, save, state, stager)

    # To look at every tensor takes Python some time, too: nothing of this call comes after it
    # that would wait for the GIL.
    save_queue().get_ready()
    copying, begun = in_staging_thread(
        copy,
        save.stats,
        functools.partial(job.wait_handed_over, save) if is_next else None,
    )
    run = functools.partial(job.write_when_begun, save, writer, begun)
    return lambda: AsyncSaveHandle(copying.done, save_queue().put(run), copying)


def _copy(
    job: AsyncJob, save: SaveJob, state: dict[str, Any], stager: DefaultStager
) -> _core.StagedState:
    """Begins to copy."""
    entries, keep_alive = save.entries(state, job.layouts())
    return save.stage(
        entries, keep_alive, stager.limit, stager.copying, copies_first=not stager.is_async
    )


def _stage_by(
    stager: AsyncStager,
    job: AsyncJob,
    save: SaveJob,
    state: dict[str, Any],
    writer: StorageWriter,
    planner: SavePlanner | None,
) -> Callable[[], _Response]:
    """With a stager, a storage or a planner of somebody's own."""
    copy = stager.stage(state)
    run: Callable[[BaseException | None], Metadata]
    used = None
    if save.is_native:
        core_writer = save.make_core_writer(beside_training=True)
        run = functools.partial(job.save, save, core_writer, copy)
    else:
        if isinstance(writer, NativeWriter):
            writer.keep_directory()
        run = functools.partial(job.save_by_protocol, job.own_group(), writer, planner, copy)
        used = writer
    if isinstance(copy, Future):
        staged = _StagedByOther(copy)
        copying, _ = in_staging_thread(lambda: staged, save.stats)
        return lambda: AsyncSaveHandle(copying.done, save_queue().put(run, used), copying)

    def wait_for_copy() -> _Response:
        upload = save_queue().put(run, used)
        if stager.should_synchronize_after_execute:
            stager.synchronize_staging()
        return upload

    return wait_for_copy


class _StagedByOther:
    """A stager's future."""

    def __init__(self, copy: Future[Any]) -> None:
        self._copy = copy

    def wait_staged(self, timeout: float | None = None) -> bool:
        return is_done(self._copy, timeout)


_BLOCKING = DefaultStager(StagingOptions(False, False, False, False))
