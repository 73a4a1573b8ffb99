"""Torch's classes of asynchronous saves; where an older torch lacks one, the like of it."""

from __future__ import annotations

import dataclasses
import enum
from concurrent.futures import Future
from typing import TYPE_CHECKING

from torch.distributed.checkpoint import staging, state_dict_saver

__all__ = ["AsyncCheckpointerType", "AsyncSaveResponse", "DefaultStagerBase", "StagingOptions"]

if TYPE_CHECKING:
    from torch.distributed.checkpoint.staging import DefaultStager as DefaultStagerBase
    from torch.distributed.checkpoint.staging import StagingOptions
    from torch.distributed.checkpoint.state_dict_saver import (
        AsyncCheckpointerType,
        AsyncSaveResponse,
    )
else:

    @dataclasses.dataclass
    class StagingOptions:
        """As torch 2.13's."""

        use_pinned_memory: bool = True
        use_shared_memory: bool = True
        use_async_staging: bool = True
        use_non_blocking_copy: bool = True

    class AsyncCheckpointerType(enum.Enum):
        """As torch 2.13's."""

        THREAD = "thread"
        PROCESS = "process"

    @dataclasses.dataclass
    class AsyncSaveResponse:
        """As torch 2.13's."""

        staging_completion: Future[None]
        upload_completion: Future[None]

    StagingOptions = getattr(staging, "StagingOptions", StagingOptions)
    DefaultStagerBase = getattr(staging, "DefaultStager", object)
    AsyncCheckpointerType = getattr(
        state_dict_saver, "AsyncCheckpointerType", AsyncCheckpointerType
    )
    AsyncSaveResponse = getattr(state_dict_saver, "AsyncSaveResponse", AsyncSaveResponse)
