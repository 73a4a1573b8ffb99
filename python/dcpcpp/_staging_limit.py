"""The host memory that copies of async saves may take."""

from __future__ import annotations

import os

from dcpcpp import _core


def staging_limit(max_staging_bytes: int | None = None) -> _core.StagingLimit:
    """`max_staging_bytes`, or this rank's share of the memory there is.

    Of n ranks that torchrun has started on the machine (LOCAL_WORLD_SIZE) each has an nth.
    """
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    ranks = max(1, int(text)) if text.isdecimal() else 1
    return _core.StagingLimit(max_staging_bytes, 1 / ranks)
