"""What async_save does for tensors in device memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch

from dcpcpp import _core

logger = logging.getLogger("dcpcpp")


class StreamMark:
    """What the caller's streams have to do at this moment.

    The staging thread looks at the tensors later, when they have more: a copy that came
    after the next step's work would be there only when the step is over.

    Args:
        state: its tensors tell which devices matter.
    """

    def __init__(self, state: Any) -> None:
        self._streams: list[torch.cuda.Stream] = []
        if not torch.cuda.is_initialized():
            return
        for device in sorted({torch.cuda.current_device(), *_cuda_devices(state)}):
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            self._streams.append(stream)

    @contextlib.contextmanager
    def as_current(self) -> Iterator[None]:
        """In this thread, have streams as current that wait for that, and for no more."""
        with contextlib.ExitStack() as stack:
            for stream in self._streams:
                stack.enter_context(torch.cuda.stream(stream))
            yield


def _cuda_devices(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _cuda_devices(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _cuda_devices(item)
    elif isinstance(value, torch.Tensor) and value.device.type == "cuda":
        yield value.get_device()


def warn_if_pageable(staged: _core.StagedState) -> None:
    """Log, once per process, that devices copy to memory that could not be pinned."""
    global _has_warned
    if _has_warned or not staged.pin_error:
        return
    _has_warned = True
    logger.warning(
        "staging memory is not pinned, so copies from devices are slow (%s). Raise the limit "
        "(ulimit -l, or the container's), lower max_staging_bytes, or pass "
        "StagingOptions(use_pinned_memory=False) to do without",
        staged.pin_error,
    )


_has_warned = False
