"""What a save or load needs to know of a torch ProcessGroup, and remembers of it."""

from __future__ import annotations

import datetime
import os
import socket
import threading
import weakref
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from dcpcpp import _core
from dcpcpp._lost_rank import rank_name
from dcpcpp._processes import Process


class Group:
    """One process group.

    Args:
        group: torch's.
        channel: operations of one channel follow each other, in the same order on all
            ranks; those of two do not disturb each other.

    Attributes:
        rank: this process's, in the group.
        world_size: ranks of the group.
        turn: a thread has it for the time of an operation.
        timeout: of the group's collectives, in seconds.
        store_rank: the rank whose process serves the Store; None if it is no rank's.
        processes: of the ranks, as far as an operation has met them.
        last_operation: name of the one that this rank took part in last.
        was_warned: whether the log tells that ranks use different places.
        plan_cache: what is remembered of the last plan of its saves.
    """

    def __init__(self, group: Any, channel: str) -> None:
        self._prefix = f"dcpcpp/{channel}"
        self.rank: int = dist.get_rank(group)
        self.world_size: int = dist.get_world_size(group)
        self._global_ranks: list[int] = dist.get_process_group_ranks(group)
        self.turn = threading.RLock()  # a state_dict() may save or load, too
        self._connection: Any = None
        self._store: Any = dist.distributed_c10d._get_process_group_store(group)
        self.timeout = _timeout_of(group, self._store).total_seconds()
        self.store_rank = _rank_that_serves(self._store, group)
        self.processes: dict[int, Process] = {}
        self.last_operation = ""
        self.was_warned = False
        self.plan_cache = _core.PlanCache()

    def global_rank(self, rank: int) -> int:
        """The number in the job of the group's `rank`."""
        return self._global_ranks[rank]

    def name_of(self, rank: int) -> str:
        """What log lines and errors call the group's `rank`."""
        return rank_name(rank, self.global_rank(rank), self.processes.get(rank))

    def connect(self, timeout: float) -> Any:
        """The Store's keys of ours, over a connection of our own: the group's may be waiting.

        It is kept, because making one may take seconds: torch asks the name server then.

        Args:
            timeout: of each call, in seconds.

        Raises:
            OSError, RuntimeError: nobody serves the Store.
        """
        if self._connection is None:
            self._connection = self._store
            if hasattr(self._store, "clone"):  # torch >= 2.9
                self.require_server()
                self._connection = self._store.clone()
        if self._connection is not self._store:
            self._connection.set_timeout(datetime.timedelta(seconds=timeout))
        return dist.distributed_c10d.PrefixStore(self._prefix, self._connection)

    def require_server(self) -> None:
        """Raise OSError if the process is gone that serves the Store; connect() waits longer."""
        store = _innermost(self._store)
        if isinstance(store, TCPStore):
            socket.create_connection((store.host, store.port), self.timeout).close()

    def disconnect(self) -> None:
        """Forget the connection, which is of no more use."""
        self._connection = None


def group_of(group: Any, channel: str) -> Group:
    """The one Group of a process group for `channel`.

    Raises:
        RuntimeError: this process was forked from a rank, e.g. by a DataLoader. It has
            the rank's number and connections, and would disturb it.
    """
    if group in _of_the_parent:
        raise RuntimeError(
            "this process was forked from a rank and cannot take part in the rank's saves and "
            "loads; pass no_dist=True to save or load alone"
        )
    channels = _groups.setdefault(group, {})
    # Two threads may be here for the first time.
    return channels.get(channel) or channels.setdefault(channel, Group(group, channel))


_groups: weakref.WeakKeyDictionary[Any, dict[str, Group]] = weakref.WeakKeyDictionary()
_of_the_parent: weakref.WeakSet[Any] = weakref.WeakSet()


def _note_fork() -> None:
    _of_the_parent.update(dist.distributed_c10d._world.pg_map)


os.register_at_fork(after_in_child=_note_fork)


def _timeout_of(group: Any, store: Any) -> datetime.timedelta:
    for device in group._device_types:
        options = getattr(group._get_backend(device), "options", None)
        timeout = getattr(options, "_timeout", None)
        if isinstance(timeout, datetime.timedelta):
            return timeout
    timeout = store.timeout
    assert isinstance(timeout, datetime.timedelta)
    return timeout


def _rank_that_serves(store: Any, group: Any) -> int | None:
    """The job's rank 0, if it is torch that started a TCPStore, and not torchrun's agent."""
    in_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    ranks = dist.get_process_group_ranks(group)
    if not isinstance(_innermost(store), TCPStore) or in_agent or 0 not in ranks:
        return None
    return ranks.index(0)


def _innermost(store: Any) -> Any:
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    return store
