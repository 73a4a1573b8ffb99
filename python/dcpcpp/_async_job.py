"""AsyncJob: what the background thread does for one async save."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import Future
from typing import Any, NoReturn

import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlanner
from torch.distributed.checkpoint.storage import StorageWriter

from dcpcpp import _core
from dcpcpp._devices import warn_if_pageable
from dcpcpp._exceptions import torch_errors
from dcpcpp._mesh_layouts import MeshLayouts, layouts_for
from dcpcpp._native_save import SaveJob
from dcpcpp._saver import warn_if_in_threads
from dcpcpp._setup_failure import tell_savers
from dcpcpp._staging_limit import staging_limit
from dcpcpp._transport import transport_for

_SLICE_SECONDS = 0.05

_own_groups: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class AsyncJob:
    """Among which ranks a save happens, and in which channel they meet: one for each queue.

    Its methods but `own_group` are called in the background; each takes the error of the
    save before last, if nobody saw it, and fails with that on all ranks.
    """

    def __init__(
        self,
        process_group: Any,
        *,
        use_dist: bool,
        use_collectives: bool,
        channel: str = "background",
    ) -> None:
        self._process_group = process_group
        self._use_dist = use_dist
        self.use_collectives = use_collectives
        self._channel = channel
        self._has_ended = threading.Event()

    def own_group(self) -> Any:
        """A gloo group of the same ranks, made once, for torch's collectives; collective."""
        if not self._use_dist:
            return None
        group = self._process_group if self._process_group is not None else dist.group.WORLD
        if group not in _own_groups:
            ranks = dist.get_process_group_ranks(group)
            _own_groups[group] = dist.new_group(
                ranks, backend="gloo", use_local_synchronization=True
            )
        return _own_groups[group]

    def layouts(self) -> MeshLayouts | None:
        """How tensors lie over the ranks, for `SaveJob.entries`."""
        return layouts_for(self._process_group, use_dist=self._use_dist)

    def write(
        self,
        save: SaveJob,
        writer: _core.StorageWriter,
        entries: _core.SaveEntries | _core.StagedState,
        earlier: BaseException | None,
    ) -> Metadata:
        """Save `entries`."""
        errand = save.errand(use_collectives=self.use_collectives)
        try:
            with transport_for(
                self._process_group, errand, use_dist=self._use_dist, channel=self._channel
            ) as transport:
                return save.write(entries, earlier, writer, transport, self.use_collectives)
        finally:
            self._has_ended.set()
            if isinstance(entries, _core.StagedState):
                warn_if_pageable(entries)
                warn_if_in_threads(entries)

    def wait_handed_over(self, save: SaveJob, staged: _core.StagedState) -> None:
        """Return once the saver has what it needs, or will not have it; at once without one."""
        begin = time.perf_counter()
        while save.saver is not None and not self._has_ended.is_set():
            if staged.wait_handed_over(_SLICE_SECONDS):
                save.stats.add("hand over", begin, time.perf_counter())
                return

    def write_when_begun(
        self,
        save: SaveJob,
        writer: _core.StorageWriter,
        copy: Future[_core.StagedState],
        earlier: BaseException | None,
    ) -> Metadata:
        """Save what the staging thread begins to copy."""
        error = earlier if earlier is not None else copy.exception()
        try:
            save.warn_if_exists(use_collectives=self.use_collectives, stacklevel=1)
        except Exception as failure:
            error = error or failure
        entries = _core.SaveEntries(()) if error is not None else copy.result()
        return self.write(save, writer, entries, error)

    def save(
        self,
        save: SaveJob,
        writer: _core.StorageWriter,
        copy: dict[str, Any] | Future[dict[str, Any]],
        earlier: BaseException | None,
    ) -> Metadata:
        """Save the copy that a stager made."""
        entries: _core.SaveEntries | _core.StagedState = _core.SaveEntries(())
        keep_alive = None
        error = earlier
        if error is None:
            try:
                state = copy.result() if isinstance(copy, Future) else copy
                made, keep_alive = save.entries(state, self.layouts())
                if save.saver is None:
                    entries = made
                else:
                    copying = _core.DeviceCopying(True, 0, "batched")
                    entries = save.stage(
                        made, keep_alive, staging_limit(), copying, copies_first=False
                    )
            except BaseException as failure:  # as torch's CheckpointException is
                error = failure
        result = self.write(save, writer, entries, error)
        del keep_alive
        return result

    def save_by_protocol(
        self,
        group: Any,
        writer: StorageWriter,
        planner: SavePlanner | None,
        copy: dict[str, Any] | Future[dict[str, Any]],
        earlier: BaseException | None,
    ) -> Metadata:
        """Save the copy through torch's protocol."""
        if earlier is not None:
            self.tell_by_protocol(group, earlier)
        try:
            state = copy.result() if isinstance(copy, Future) else copy
        except BaseException as error:
            self.tell_by_protocol(group, error)
        return self._save_by_protocol(group, writer, planner, state)

    def _save_by_protocol(
        self, group: Any, writer: Any, planner: SavePlanner | None, state: dict[str, Any]
    ) -> Metadata:
        with torch_errors():
            return state_dict_saver._save_state_dict(
                state_dict=state,
                storage_writer=writer,
                process_group=group,
                no_dist=not self._use_dist,
                planner=planner,
                use_collectives=self.use_collectives,
            )

    def tell_by_protocol(
        self, group: Any, error: BaseException, earlier: BaseException | None = None
    ) -> NoReturn:
        """As `tell`, where the other ranks save through torch's protocol."""
        del earlier
        self._save_by_protocol(group, _NoStorage(error), None, {})
        raise error

    def tell(self, error: Exception, earlier: BaseException | None) -> NoReturn:
        """Tell the other ranks of an error of this one, which its caller has."""
        del earlier
        tell_savers(
            error,
            self._process_group,
            use_dist=self._use_dist,
            use_collectives=self.use_collectives,
            channel=self._channel,
        )
        raise error


class _NoStorage:
    """In the place of a storage: torch's protocol tells all ranks what it raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def storage_meta(self) -> NoReturn:
        raise self._error
