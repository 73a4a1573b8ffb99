"""save and load: the calls of torch.distributed.checkpoint, carried out by libdcp."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter
from typing_extensions import deprecated

from dcpcpp._calls import (
    accept_second_positional,
    is_stateful,
    require_state_dict,
    runs_alone,
    stateful_to_state_dict,
)
from dcpcpp._exceptions import torch_errors
from dcpcpp._in_flight import saving
from dcpcpp._native_load import LoadJob
from dcpcpp._native_path import loads_natively, saves_natively
from dcpcpp._native_save import SaveJob
from dcpcpp._protocol_load import load_by_protocol
from dcpcpp._report import LoadReport
from dcpcpp._save_queue import save_queue
from dcpcpp._selection import Patterns, Rename, Selection
from dcpcpp._setup_failure import told_to_loaders, told_to_savers
from dcpcpp._stats import SaveStats
from dcpcpp._storage_setup import choose_reader, choose_writer

__all__ = ["load", "load_state_dict", "save", "save_state_dict"]


@accept_second_positional
def save(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_writer: StorageWriter | None = None,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    export_dtype: torch.dtype | None = None,
    compression: str | None = None,
    stats: SaveStats | None = None,
) -> Metadata:
    """Save a distributed state dict; collective over `process_group`.

    Mirrors `torch.distributed.checkpoint.save` (2.13) and writes the same files. Unlike
    it, a checkpoint that was there stays whole until the new one is, what is reported
    saved is on the disk, and shards are balanced by their real size.

    Args:
        state_dict: nested dicts and lists of tensors (plain, DTensor, ShardedTensor),
            `Stateful` objects at the top level, and other picklable leaves.
        checkpoint_id: directory, or URL for fsspec.
        storage_writer: where to write, instead of `checkpoint_id` alone. One that is
            not dcpcpp's or torch's own runs under torch's protocol.
        planner: as in torch; one other than `DefaultSavePlanner` runs under torch's
            protocol.
        process_group: ranks that save together; None for all.
        no_dist: save this process's state alone.
        use_collectives: False writes a checkpoint per rank, as torch does.
        include: patterns of flat keys to save; None for all.
        exclude: patterns of flat keys to leave out.
        rename: from the state dict's keys to the checkpoint's; see `Selection`.
        export_dtype: store floating-point tensors in this dtype.
        compression: None or "zstd".
        stats: is filled with what this rank did and how long it took. (Not where torch's
            protocol runs a planner or storage.)

    Returns:
        torch's Metadata of the checkpoint, on every rank.

    Raises:
        CheckpointException: a rank failed; `.failures[rank]` tells why. Nothing was
            published then. A rank that died or hangs fails it too: at once if it died where
            another rank runs, else after 15 s without a sign of life (2 to 600 s:
            `DCPCPP_HEARTBEAT_TIMEOUT`). The exception is a RuntimeError then, as in
            torch, and a rank that hung may take part in the next save. It is a ValueError
            where the ranks did not call for the same: one loads, or `use_collectives`
            differs, or the directory does between ranks of one host. An async save that
            failed is told of here, if nobody looked at its future.
        CheckpointBusyError: another process, or another thread over the same group, was
            at work; it is a CheckpointException, too.

    Example:
        >>> dcpcpp.save({"model": model, "step": 7}, checkpoint_id="/ckpt/step-7")
    """
    alone = runs_alone(no_dist, "save", stacklevel=4)
    together = not alone and saves_natively(storage_writer, planner)
    with told_to_savers(process_group, use_dist=together, use_collectives=use_collectives):
        require_state_dict(state_dict)
        save_queue().settle()  # they may be for the same directory
        writer = choose_writer(storage_writer, checkpoint_id)
    selection = Selection(include, exclude, rename)
    job = SaveJob(
        writer,
        planner,
        selection,
        export_dtype=export_dtype,
        compression=compression,
        stats=stats,
    )
    if job.is_native:
        return job.save(
            lambda: stateful_to_state_dict(state_dict),
            process_group,
            use_dist=not alone,
            use_collectives=use_collectives,
        )
    with saving(), torch_errors():
        return state_dict_saver._save_state_dict(
            state_dict=stateful_to_state_dict(state_dict),
            storage_writer=writer,
            process_group=process_group,
            no_dist=alone,
            planner=planner,
            use_collectives=use_collectives,
        )


@accept_second_positional
def load(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike[str] | None = None,
    storage_reader: StorageReader | None = None,
    planner: LoadPlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    no_dist: bool = False,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    allow_pickle: bool | None = None,
    report: LoadReport | None = None,
    format: str | None = None,
) -> None:
    """Fill `state_dict` in place from a checkpoint, resharding as needed; collective.

    Mirrors `torch.distributed.checkpoint.load` (2.13). Unlike it, all ranks succeed or
    all raise, stored bytes are checked, and no code in the file is run.

    Args:
        state_dict: leaf tensors keep dtype, device and sharding; their shape must equal
            the stored global shape. `Stateful` objects are filled through
            `load_state_dict`; other leaves are replaced.
        checkpoint_id: directory that holds `.metadata`, or `*.safetensors` files, or URL for
            fsspec.
        storage_reader: where to read, instead of `checkpoint_id` alone. One that is not
            dcpcpp's or torch's own runs under torch's protocol.
        planner: as in torch; `DefaultLoadPlanner(allow_partial_load=True)` leaves keys
            alone that the checkpoint lacks.
        process_group: ranks that load together; None for all.
        no_dist: load into this process alone.
        include: patterns of flat keys to load; None for all. The others stay as they are.
        exclude: patterns of flat keys to leave as they are.
        rename: from the state dict's keys to the checkpoint's; see `Selection`.
        allow_pickle: load objects of any class, running what code the file names. None: as
            `options` says, which is no. (A planner with a `load_bytes` of its own decides
            for itself.)
        report: is filled with what was missing, unexpected and converted. Like `include`,
            `exclude` and `rename`, not for planners and storages of others: ValueError.
        format: "dcp" or "hf", for a directory that holds both PyTorch's files and
            safetensors; None: the one that is there.

    Raises:
        CheckpointException: a rank failed; `.failures[rank]` tells why: RuntimeError
            for a missing key, ValueError for another shape, CheckpointCorruptedError
            for damaged bytes, FileNotFoundError for no checkpoint. It is a ValueError itself,
            or a CheckpointBusyError, as in `save`.

    Example:
        >>> dcpcpp.load({"model": model}, checkpoint_id="/ckpt/step-7")
    """
    alone = runs_alone(no_dist, "load", stacklevel=4)
    together = not alone and loads_natively(storage_reader, planner)
    with told_to_loaders(process_group, use_dist=together):
        require_state_dict(state_dict)
        reader = choose_reader(storage_reader, checkpoint_id, format)
    selection = Selection(include, exclude, rename)
    job = LoadJob(reader, planner, selection, allow_pickle=allow_pickle, report=report)
    # All ranks call their objects' collectives, if they have any, in one order.
    keys = sorted(state_dict, key=str)
    flat: dict[str, Any] = {}
    if job.is_native:
        job.load(
            lambda: _collect(state_dict, keys, flat),
            process_group,
            use_dist=not alone,
        )
    else:
        _collect(state_dict, keys, flat)
        load_by_protocol(
            flat, reader, process_group, planner, use_dist=not alone, allow_pickle=allow_pickle
        )
    for key in keys:
        if key not in state_dict:
            continue
        element = state_dict[key]
        if is_stateful(element):
            element.load_state_dict(flat[key])
        else:
            state_dict[key] = flat[key]


def _collect(
    state_dict: dict[str, Any], keys: list[str], collected: dict[str, Any]
) -> dict[str, Any]:
    for key in keys:
        if key in state_dict:
            element = state_dict[key]
            collected[key] = element.state_dict() if is_stateful(element) else element
    return collected


@deprecated(
    "`save_state_dict` is deprecated and will be removed in future versions."
    "Please use `save` instead.",
    category=FutureWarning,
)
def save_state_dict(
    state_dict: dict[str, Any],
    storage_writer: StorageWriter,
    process_group: dist.ProcessGroup | None = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: SavePlanner | None = None,
) -> Metadata:
    """Save without calling `Stateful` objects. Mirrors torch's deprecated function."""
    storage_writer.reset()
    job = SaveJob(storage_writer, planner, Selection())
    if job.is_native:
        return job.save(
            lambda: state_dict, process_group, use_dist=not no_dist, coordinator=coordinator_rank
        )
    with saving(), torch_errors():
        return state_dict_saver._save_state_dict(
            state_dict, storage_writer, process_group, coordinator_rank, no_dist, planner
        )


@deprecated(
    "`load_state_dict` is deprecated and will be removed in future versions. "
    "Please use `load` instead.",
    category=FutureWarning,
)
def load_state_dict(
    state_dict: dict[str, Any],
    storage_reader: StorageReader,
    process_group: dist.ProcessGroup | None = None,
    coordinator_rank: int = 0,
    no_dist: bool = False,
    planner: LoadPlanner | None = None,
) -> None:
    """Load without calling `Stateful` objects. Mirrors torch's deprecated function."""
    storage_reader.reset()
    job = LoadJob(storage_reader, planner, Selection())
    if job.is_native:
        job.load(
            lambda: state_dict, process_group, use_dist=not no_dist, coordinator=coordinator_rank
        )
        return
    load_by_protocol(
        state_dict,
        storage_reader,
        process_group,
        planner,
        use_dist=not no_dist,
        coordinator=coordinator_rank,
    )
