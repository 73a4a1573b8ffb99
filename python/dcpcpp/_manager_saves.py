"""The saves into one folder of steps: one after the other, old steps go after each."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core
from dcpcpp._async_save import AsyncSaveHandle
from dcpcpp._manager_log import CheckpointEvent
from dcpcpp._stats import SaveStats

# A save that goes on in the background, and what stages it if that does, too.
Background = tuple[Future[Metadata], AsyncSaveHandle | None]


class Saves:
    """Carries out saves. One thread at a time; an async one ends in its own thread.

    Args:
        core: of the folder.
        is_first: whether this rank keeps the folder's books.
        tell: is told of each save that has succeeded, by then also on the disk.
        remove: removes old steps; it is called in the background, on the first rank.

    Attributes:
        upload: of an async save, until somebody has waited for it.
    """

    def __init__(
        self,
        core: _core.CheckpointManager,
        *,
        is_first: bool,
        tell: Callable[[CheckpointEvent], None],
        remove: Callable[[_core.CheckpointManager], None],
    ) -> None:
        self._core = core
        self._is_first = is_first
        self._tell = tell
        self._remove = remove
        self.upload: Future[Metadata] | None = None
        self._staging: AsyncSaveHandle | None = None
        self._has_ended = threading.Event()
        self._told_thread: int | None = None
        self._is_closed = False
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="dcpcpp-retention")

    def run(self, event: CheckpointEvent, save: Callable[[SaveStats], Background | None]) -> None:
        """Have `save` save the step of `event`, which the core knows to be begun.

        Args:
            event: what is to be told, but for its seconds and bytes.
            save: returns what goes on in the background, if it does.
        """
        self._has_ended.clear()
        stats = SaveStats()
        end = functools.partial(self._end, event, time.perf_counter(), stats)
        try:
            background = save(stats)
        except BaseException as error:
            end(error)
            raise
        if background is None:
            end(None)
            return
        self.upload, self._staging = background
        # Not exception() of the future itself: nobody has seen the error by this.
        self.upload.add_done_callback(lambda upload: end(Future.exception(upload)))

    def wait_staged(self) -> None:
        """Wait until the state may change that an async save copies."""
        if self._staging is not None:
            self._staging.wait_staged()
            self._staging = None

    def wait(self) -> None:
        """Wait until the last async save has ended; raise its error.

        Who is told of that save is not: it has ended, and would wait for itself.
        """
        if self.upload is None or self._told_thread == threading.get_ident():
            return
        try:
            self.upload.result()
        except Exception:  # Ctrl-C is no end of the save
            self._forget_upload()
            raise
        self._forget_upload()

    def take_error(self) -> Exception | None:
        """Wait for the last async save; its error, which the caller has to raise."""
        try:
            self.wait()
        except Exception as error:
            return error
        return None

    def wait_removed(self) -> None:
        """Wait until nothing is being removed."""
        self._remover.submit(lambda: None).result()

    def close(self) -> None:
        """Wait for what is being saved and removed; raise the error of the last save."""
        try:
            self.wait()
        finally:
            self._is_closed = True
            self._remover.shutdown()

    def _end(
        self,
        event: CheckpointEvent,
        begin: float,
        stats: SaveStats,
        error: BaseException | None,
    ) -> None:
        try:
            seconds = time.perf_counter() - begin
            if self._is_first and event.step is not None:
                self._core.end_save(event.step, error is None)
                if error is None and not self._is_closed:
                    self._remover.submit(self._remove, self._core)
            if error is None:
                self._told_thread = threading.get_ident()
                self._tell(dataclasses.replace(event, seconds=seconds, nbytes=stats.nbytes))
        finally:
            self._told_thread = None
            self._has_ended.set()

    def _forget_upload(self) -> None:
        self._has_ended.wait()  # what is done when the future is, not before
        self.upload = self._staging = None
