"""Stagers: how `async_save` makes the copy that it writes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Literal

import torch

from dcpcpp import _core
from dcpcpp._save_queue import save_queue
from dcpcpp._saver import release_saver_memory
from dcpcpp._staged import wait_for_staged
from dcpcpp._staging_limit import staging_limit
from dcpcpp._torch_async import DefaultStagerBase, StagingOptions

__all__ = ["DefaultStager"]


class DefaultStager(DefaultStagerBase):
    """Mirrors `torch.distributed.checkpoint.DefaultStager`; in `dcpcpp.async_save` libdcp copies.

    The copy goes into memory that the process keeps for the next one, by threads that do
    not hold the GIL. What a machine has no use for (pinned memory without CUDA) is left
    out, where torch raises; memory that cannot be pinned is used as it is, with a warning
    in the log. One stager may serve saves that overlap.

    Args:
        config: torch's options. With `use_async_staging`, `async_save` returns while the
            copy is being made, and a fence (`dcpcpp.fence`, `wait_staged`) must come
            before the state changes.
        max_staging_bytes: host memory for all copies that exist at a time. What does not
            fit is written from where it is, and the fence waits for that; with PROCESS, the
            ranks do that, in threads. None: what can be had without swapping, in this
            process's control group too, an eighth of it left alone; a rank among n of
            torchrun's on a machine (LOCAL_WORLD_SIZE) takes an nth.
        max_copy_rate: bytes in a second that devices copy to host memory for one save,
            so that the trainer's own copies have room; of what is written from where it
            is, 64 MiB (or a tensor) at a time. None: as many as they can.
        device_copies: "batched": the driver is given many copies at once. "packed": a
            kernel gathers small tensors into one copy; a build without the kernel
            (`dcpcpp config`) copies as "batched".
    """

    def __init__(
        self,
        config: StagingOptions | None = None,
        *,
        max_staging_bytes: int | None = None,
        max_copy_rate: int | None = None,
        device_copies: Literal["batched", "packed"] = "batched",
    ) -> None:
        # Not torch's: it makes what its own copies need, and refuses to without CUDA.
        if max_staging_bytes is not None and max_staging_bytes < 0:
            raise ValueError(f"max_staging_bytes is a number of bytes, not {max_staging_bytes}")
        if max_copy_rate is not None and max_copy_rate <= 0:
            raise ValueError(f"max_copy_rate is bytes in a second, not {max_copy_rate}")
        self._config = config if config is not None else StagingOptions()
        self._copying = _core.DeviceCopying(
            self._config.use_pinned_memory, max_copy_rate or 0, device_copies
        )
        self._torchs: DefaultStagerBase | None = None
        self.max_staging_bytes = max_staging_bytes

    @property
    def limit(self) -> _core.StagingLimit:
        """The host memory that copies may take."""
        return staging_limit(self.max_staging_bytes)

    @property
    def pins_memory(self) -> bool:
        """Whether devices copy to pinned memory."""
        return self._config.use_pinned_memory

    @property
    def copying(self) -> _core.DeviceCopying:
        """How devices copy."""
        return self._copying

    @property
    def is_async(self) -> bool:
        """Whether `async_save` returns before the copy is complete."""
        return self._config.use_async_staging

    def stage(self, state_dict: dict[str, Any], **kwargs: Any) -> dict[str, Any] | Future[Any]:
        """A copy of `state_dict` made by torch, for torch's own `async_save`."""
        if self._torchs is None:
            has_device = torch.accelerator.is_available()
            options = StagingOptions(
                self._config.use_pinned_memory and has_device,
                self._config.use_shared_memory,
                self._config.use_async_staging,
                self._config.use_non_blocking_copy and has_device,
            )
            self._torchs = DefaultStagerBase(options)
        return self._torchs.stage(state_dict, **kwargs)

    def synchronize_staging(self) -> None:
        """Wait until what was given to `async_save` may be changed."""
        wait_for_staged()
        if self._torchs is not None:
            self._torchs.synchronize_staging()

    def close(self) -> None:
        """Wait for the saves, give their memory back, and raise the error that nobody saw."""
        if self._torchs is not None:
            self._torchs.close()
        save_queue().wait_until_at_most(0)
        _core.release_staging_memory()
        release_saver_memory()
        save_queue().raise_unseen()
