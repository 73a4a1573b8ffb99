"""prewarm: the memory of async saves, taken before the first one."""

from __future__ import annotations

from typing import Any

from dcpcpp import _core
from dcpcpp._calls import stateful_to_state_dict
from dcpcpp._default_stager import DefaultStager
from dcpcpp._native_path import flatten, has_tensors
from dcpcpp._saver import process_saver
from dcpcpp._tensors import EntryMaker, device_of, nbytes_of
from dcpcpp._torch_async import AsyncCheckpointerType, StagingOptions

__all__ = ["prewarm"]

_BLOCKING = StagingOptions(False, False, False, False)  # as async_save without a stager


def prewarm(
    state_dict: dict[str, Any],
    async_stager: DefaultStager | None = None,
    async_checkpointer_type: AsyncCheckpointerType = AsyncCheckpointerType.THREAD,
) -> None:
    """Pay the first async save's costs ahead: memory for the copy of `state_dict`.

    Args:
        state_dict: as it will be saved, or of the same size.
        async_stager: the one that will be used.
        async_checkpointer_type: the one that will be used.
    """
    stager = async_stager if async_stager is not None else DefaultStager(_BLOCKING)
    maker = EntryMaker(applies_ops=True)
    entries = [
        entry
        for key, value in flatten(stateful_to_state_dict(state_dict), None).leaves.items()
        if has_tensors(value)
        for entry in maker.save_entries(key, value, ())
    ]
    device = max((device_of(entry) for entry in entries), default=-1) if stager.pins_memory else -1
    saver = None
    if async_checkpointer_type is AsyncCheckpointerType.PROCESS:
        saver = process_saver()
        saver.start()
    nbytes = sum(map(nbytes_of, entries))
    _core.prewarm_staging(nbytes, stager.limit, saver, device)
