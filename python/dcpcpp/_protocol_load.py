"""A load that torch's protocol carries out, for planners and storages that are not ours."""

from __future__ import annotations

import errno
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlanner
from torch.distributed.checkpoint.storage import StorageReader
from torch.distributed.checkpoint.utils import _DistWrapper

from dcpcpp._exceptions import CheckpointException, torch_errors
from dcpcpp._in_flight import loading
from dcpcpp._load_bytes import safe_load_bytes
from dcpcpp._native_reader import NativeReader
from dcpcpp._trust import allowing
from dcpcpp.errors import CheckpointCorruptedError


def load_by_protocol(
    state_dict: dict[str, Any],
    reader: StorageReader,
    process_group: dist.ProcessGroup | None,
    planner: LoadPlanner | None,
    *,
    use_dist: bool,
    coordinator: int = 0,
    allow_pickle: bool | None = None,
) -> None:
    """Fill `state_dict` as torch does, on all ranks.

    Where our reader finds files gone or damaged because another save has replaced the
    checkpoint meanwhile, all ranks start again with the new one, once. Objects are decoded
    as in a native load, unless `planner` has a `load_bytes` of its own.
    """
    chosen = planner if planner is not None else DefaultLoadPlanner()

    def run() -> None:
        with loading(), torch_errors(), safe_load_bytes(chosen), allowing(allow_pickle):
            state_dict_loader._load_state_dict(
                state_dict, reader, process_group, coordinator, not use_dist, chosen
            )

    try:
        run()
    except CheckpointException as error:
        # All ranks have the same failures, so all ask, or none.
        if not (isinstance(reader, NativeReader) and _may_be_replacement(error)):
            raise
        ranks = _DistWrapper(process_group, use_dist, coordinator)
        if not ranks.broadcast("plan", reader.was_replaced):
            raise
    else:
        return
    run()


def _may_be_replacement(error: CheckpointException) -> bool:
    """Whether reading a checkpoint that is being replaced may fail like this."""

    def fits(cause: BaseException) -> bool:
        if isinstance(cause, OSError) and cause.errno == errno.ESTALE:
            return True  # on network file systems an open file may go, too
        return isinstance(cause, (FileNotFoundError, CheckpointCorruptedError))

    return all(fits(cause) for cause, _ in error.failures.values())
