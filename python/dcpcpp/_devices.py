"""What async_save does for tensors in device memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
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
        self._events: dict[int, torch.cuda.Event] = {}
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's
            return
        for device in sorted(set(_cuda_devices(state))):
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's
            event.record(torch.cuda.current_stream(device))
            self._events[device] = event

    @contextlib.contextmanager
    def as_current(self) -> Iterator[None]:
        """In the staging thread, have streams as current that wait for that, and for no more."""
        with contextlib.ExitStack() as stack:
            for device, event in self._events.items():
                # Not stream() alone: it would leave by setting a stream of the thread's own
                # device, number 0, which makes a context there if the process has none.
                stack.enter_context(torch.cuda.device(device))
                stream = _stream_of(device)
                stream.wait_event(event)
                stack.enter_context(torch.cuda.stream(stream))
            yield


# By device, of the one staging thread: torch hands out the same 32 streams over and over, so
# more than one would soon be the trainer's as well.
_streams: dict[int, torch.cuda.Stream] = {}


def _stream_of(device: int) -> torch.cuda.Stream:
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
    return _streams[device]


def _cuda_devices(value: Any) -> Iterator[int]:
    if isinstance(value, torch.Tensor):
        if value.device.type == "cuda":
            yield value.device.index
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _cuda_devices(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _cuda_devices(item)
    elif hasattr(value, "__create_write_items__"):  # has tensors that nobody else sees
        yield torch.cuda.current_device()


def warn_if_pageable(staged: _core.StagedState) -> None:
    """Log, once per process, that memory could not be pinned, or unpinned."""
    global _has_warned
    if _has_warned or not staged.pin_error:
        return
    _has_warned = True
    logger.warning(
        "staging memory could not be pinned as it should, so copies from devices may be slow "
        "(%s). Lower max_staging_bytes, or pass StagingOptions(use_pinned_memory=False) to do "
        "without",
        staged.pin_error,
    )


_has_warned = False
