"""Who saves in the background: dcpcpp, stock DCP, torch_checkpointing, and the raw device.

Each has a process of its own, because what one keeps (staging memory, a saver's process)
must not be in the way of another; see `async_worker`.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.checkpoint import filesystem as stock_filesystem
from torch.distributed.checkpoint import staging as stock_staging
from torch.distributed.checkpoint import state_dict_saver

import dcpcpp
from dcpcpp.bench.meter import sync_names
from dcpcpp.bench.raw import raw_write
from dcpcpp.bench.states import Tensors, nbytes_of


class Pending:
    """A save whose call has returned.

    Args:
        fence: returns once the state may be changed.
        wait: returns once the checkpoint is complete.
        path: made durable then, where the contestant does not do it.
    """

    def __init__(self, fence: Callable[[], Any], wait: Callable[[], Any], path: Path) -> None:
        self.fence = fence
        self._wait = wait
        self._path = path

    def wait(self) -> None:
        """Return once the checkpoint is on the disk."""
        self._wait()
        sync_names(self._path)


class AsyncContestant(ABC):
    """Starts saves of a state."""

    def prewarm(self, state: Tensors) -> None:  # noqa: B027  # most have no such call
        """Pay the first save's costs ahead, if it can."""

    @abstractmethod
    def save(self, state: Tensors, path: Path) -> Pending:
        """Start one; the call's duration is what blocks the trainer."""

    def close(self) -> None:  # noqa: B027
        """End its processes."""


def _nothing() -> None:
    pass


class Dcpcpp(AsyncContestant):
    """With a full copy before the call returns, or with a fence; in threads or a process."""

    def __init__(self, *, fenced: bool, by_process: bool = False) -> None:
        options = stock_staging.StagingOptions(False, False, fenced, False)
        self._stager = dcpcpp.DefaultStager(options)
        kinds = state_dict_saver.AsyncCheckpointerType
        self._kind = kinds.PROCESS if by_process else kinds.THREAD

    def prewarm(self, state: Tensors) -> None:
        """Takes the memory."""
        dcpcpp.prewarm(state, self._stager, self._kind)

    def save(self, state: Tensors, path: Path) -> Pending:
        """Starts one."""
        response = dcpcpp.async_save(
            state,
            checkpoint_id=path,
            async_checkpointer_type=self._kind,
            async_stager=self._stager,
        )
        if isinstance(response, Future):
            return Pending(_nothing, response.result, path)
        fence = response.staging_completion.result
        return Pending(fence, response.upload_completion.result, path)

    def close(self) -> None:
        """Gives the memory back."""
        self._stager.close()


class StockThread(AsyncContestant):
    """Stock DCP's default."""

    def save(self, state: Tensors, path: Path) -> Pending:
        """Starts one."""
        writer = stock_filesystem.FileSystemWriter(path)
        future = state_dict_saver.async_save(state, storage_writer=writer)
        assert isinstance(future, Future)
        return Pending(_nothing, future.result, path)


class StockProcess(AsyncContestant):
    """Stock DCP's process, with staging in shared memory; a group of one rank."""

    def __init__(self) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        options = stock_staging.StagingOptions(False, True, False, False)
        self._stager = stock_staging.DefaultStager(options)

    def save(self, state: Tensors, path: Path) -> Pending:
        """Starts one."""
        future = state_dict_saver.async_save(
            state,
            storage_writer=stock_filesystem.FileSystemWriter(path),
            async_checkpointer_type=state_dict_saver.AsyncCheckpointerType.PROCESS,
            async_stager=self._stager,
        )
        assert isinstance(future, Future)
        return Pending(_nothing, future.result, path)

    def close(self) -> None:
        """Ends the process."""
        self._stager.close()
        from torch.distributed.checkpoint import _async_process_executor as executor

        executor._CHECKPOINT_PROCESS = None  # its finalizer ends the process


class TorchCheckpointing(AsyncContestant):
    """Meta's torch_checkpointing for CPU state, without the direct I/O that fails on ext4."""

    def __init__(self) -> None:
        from torch_checkpointing import CheckpointManager
        from torch_checkpointing.storage.filesystem import LocalFileSystemStorageConfig

        storage = LocalFileSystemStorageConfig(use_direct_io=False)
        self._manager = CheckpointManager(CheckpointManager.Config(storage_config=storage))

    def prewarm(self, state: Tensors) -> None:
        """Takes the memory."""
        self._manager.prewarm_staging({"model": state})

    def save(self, state: Tensors, path: Path) -> Pending:
        """Starts one."""
        future = self._manager.save(str(path), {"model": state})

        assert future is not None

        def fence() -> None:
            with self._manager.lock():
                pass

        return Pending(fence, future.result, path)

    def close(self) -> None:
        """Ends the process."""
        self._manager.close()


class RawDevice(AsyncContestant):
    """As many bytes through plain I/O by one thread, with the GIL free.

    Nothing is copied, planned or checksummed: what it takes from a training step, the disk does.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)

    def save(self, state: Tensors, path: Path) -> Pending:
        """Starts to write, once the memory for it is there."""
        path.mkdir()
        started = threading.Event()
        writing = self._thread.submit(
            raw_write, path, nbytes_of(state), direct=True, before_start=started.set
        )
        writing.add_done_callback(lambda _: started.set())  # if it fails before it starts
        started.wait()
        return Pending(_nothing, writing.result, path)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown()


MAKERS: dict[str, Callable[[], AsyncContestant]] = {
    "dcpcpp": lambda: Dcpcpp(fenced=False),
    "dcpcpp, with a fence": lambda: Dcpcpp(fenced=True),
    "dcpcpp, PROCESS": lambda: Dcpcpp(fenced=False, by_process=True),
    "stock DCP, THREAD": StockThread,
    "stock DCP, PROCESS, shared": StockProcess,
    "torch_checkpointing": TorchCheckpointing,
    "raw device": RawDevice,
}


def is_installed(name: str) -> bool:
    """Whether the contestant can take part."""
    if name != "torch_checkpointing":
        return True
    with contextlib.suppress(ImportError):
        import torch_checkpointing  # noqa: F401

        return True
    return False


def quiet() -> None:
    """Keep the warnings of all of them out of the table."""
    warnings.simplefilter("ignore")
