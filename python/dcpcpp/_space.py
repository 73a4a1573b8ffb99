"""Whether what a rank is to write fits, where torch's protocol plans it."""

from __future__ import annotations

import errno
import os

import torch
from torch.distributed.checkpoint.planner import SavePlan, WriteItem

# As libdcp's own check has them, space_check.cc: what a zip item adds to its data, and
# `.metadata` and the sidecar for it.
_ITEM_OVERHEAD = 8192
_SMALL_ITEM_OVERHEAD = 2048
_METADATA_PER_ITEM = 512


def require_space(plan: SavePlan, path: str, export_dtype: torch.dtype | None) -> None:
    """Look whether `plan` fits the file system of `path`, before a byte is written.

    Args:
        plan: what this rank writes; the lengths of objects are not known yet.
        path: the directory, which is there.
        export_dtype: what floating-point tensors are stored in, None: what they are.

    Raises:
        OSError: ENOSPC, with the bytes that are needed and free.
    """
    needed = sum(_needed_by(item, export_dtype) for item in plan.items)
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: this rank's part of the checkpoint needs {needed} "
            f"bytes, {free} are free",
            path,
        )


def is_exported(dtype: torch.dtype) -> bool:
    """Whether `export_dtype` applies to tensors of `dtype`."""
    # Two 4-bit numbers in a byte are bits to libdcp: no cast takes them apart.
    return dtype.is_floating_point and dtype != getattr(torch, "float4_e2m1fn_x2", None)


def _needed_by(item: WriteItem, export_dtype: torch.dtype | None) -> int:
    nbytes = 0
    if item.tensor_data is not None:
        dtype = item.tensor_data.properties.dtype
        if export_dtype is not None and is_exported(dtype):
            dtype = export_dtype
        nbytes = item.tensor_data.chunk.sizes.numel() * dtype.itemsize
    return nbytes + _METADATA_PER_ITEM + min(_ITEM_OVERHEAD, nbytes + _SMALL_ITEM_OVERHEAD)
