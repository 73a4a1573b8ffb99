"""Async saves beside those of the run, which they neither wait for nor fail with."""

from __future__ import annotations

import functools
import weakref
from typing import Any

from torch.distributed.checkpoint.stateful import Stateful

from dcpcpp._async_job import AsyncJob
from dcpcpp._calls import stateful_to_state_dict
from dcpcpp._default_stager import DefaultStager
from dcpcpp._native_save import SaveJob
from dcpcpp._save_queue import SaveFuture, SaveQueue
from dcpcpp._selection import Selection
from dcpcpp._stats import SaveStats
from dcpcpp._storage_setup import choose_writer
from dcpcpp._torch_async import StagingOptions

# Ranks meet in one channel of a group, where operations follow each other. So do the saves of
# several managers over one group: two at a time would be one too many there.
_queues: weakref.WeakKeyDictionary[Any, SaveQueue] = weakref.WeakKeyDictionary()


class SavesBeside:
    """A queue of saves besides the process's, with a thread and a channel of its own.

    Calls are collective over the ranks, which make them in the same order, and come when the
    save before has ended. Another manager's saves over the same group are waited for, but that
    they fail changes nothing here.

    Args:
        group: the ranks; None for this process alone.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._queue = SaveQueue() if group is None else _queues.setdefault(group, SaveQueue())
        self._stager = DefaultStager(StagingOptions(False, False, False, False))

    def save(self, state: dict[str, Stateful], path: str, stats: SaveStats) -> SaveFuture:
        """Save a copy of `state`, which may change when this returns; the upload.

        Raises:
            What a state's `state_dict()` raises. The future of the other ranks fails then,
            and names this rank.
        """
        job = AsyncJob(
            self._group, use_dist=self._group is not None, use_collectives=True, channel="beside"
        )
        try:
            save = SaveJob(choose_writer(None, path), None, Selection(), stats=stats)
            writer = save.make_core_writer(beside_training=True)
            entries, keep_alive = save.entries(stateful_to_state_dict(state), job.layouts())
            staged = save.stage(
                entries,
                keep_alive,
                self._stager.limit,
                self._stager.copying,
                copies_first=True,
            )
        except Exception as error:
            if self._group is not None:
                self._queue.put(functools.partial(job.tell, error)).was_seen = True
            raise
        # What failed before was another manager's, or was told to this one's caller.
        upload = self._queue.put(lambda _: job.write(save, writer, staged, None))
        staged.wait_staged(None)
        return upload
