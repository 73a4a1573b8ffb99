"""libdcp's Transport over a torch.distributed process group.

Messages are bytes in CPU tensors. Waiting for bulk I/O goes through the group's Store,
see `_presence`.
"""

from __future__ import annotations

import collections
import contextlib
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from dcpcpp import _core, _exceptions
from dcpcpp._presence import Presence, RankLostError
from dcpcpp.errors import RankFailuresError

# The last tensors that went through a collective. gloo's threads let go of a tensor some
# time after the collective is done; if theirs is the last reference while the interpreter
# shuts down, torch ends the process ("terminate called without an active exception").
_recent: collections.deque[torch.Tensor] = collections.deque(maxlen=16)

# CPU groups made for groups that have no CPU backend, one for each.
_cpu_groups: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def transport_for(
    process_group: Any, phase: str, *, use_dist: bool, coordinator: int = 0
) -> Iterator[_core.Transport]:
    """The transport of a save or load over `process_group` (None: the default group).

    Collective over the group, if `use_dist`.

    Args:
        process_group: the ranks.
        phase: name of the operation in an error about the connection itself.
        use_dist: False for this process alone.
        coordinator: rank in the group that plans.

    Raises:
        LostRankException: a rank is gone, or the connection to it broke.
    """
    group = process_group if process_group is not None or not use_dist else dist.group.WORLD
    if not use_dist or dist.get_world_size(group) == 1:
        yield _core.single_process_transport()
        return
    transport = ProcessGroupTransport(group, coordinator)
    try:
        transport.connect()
        yield transport
    except (RankFailuresError, _exceptions.CheckpointException):
        transport.leave(None)  # all ranks have it
        raise
    except BaseException as error:
        transport.leave(error)
        if transport.broken is None:
            raise
        raise _exceptions.lost_rank(phase, transport.broken) from transport.broken
    else:
        transport.leave(None)


class ProcessGroupTransport(_core.Transport):
    """See dcp/transport.h for what each method promises."""

    def __init__(self, group: Any, coordinator: int) -> None:
        super().__init__()
        self._group = _with_cpu_backend(group)
        self._rank = dist.get_rank(group)
        self._world_size = dist.get_world_size(group)
        self._coordinator = coordinator
        self._presence: Presence | None = None
        self.broken: RankLostError | None = None

    def connect(self) -> None:
        """Meet the other ranks; before any other call. Collective."""
        # One name for the keys of this operation, the same on all ranks.
        name = self.broadcast(uuid.uuid4().bytes).hex()
        store = _store_of(self._group, name)
        self._presence = Presence(store, self._rank, self._world_size, self._coordinator)

    def leave(self, error: BaseException | None) -> None:
        """Take no further part. `error`: what the other ranks do not know of."""
        if self._presence is not None:
            self._presence.leave(error)

    def rank(self) -> int:
        return self._rank

    def world_size(self) -> int:
        return self._world_size

    def coordinator(self) -> int:
        return self._coordinator

    def gather(self, message: bytes) -> list[bytes]:
        if self._rank != self._coordinator:
            self._send(message, self._coordinator)
            return []
        return [
            message if rank == self._rank else self._receive(rank)
            for rank in range(self._world_size)
        ]

    def scatter(self, messages: list[bytes]) -> bytes:
        if self._rank != self._coordinator:
            return self._receive(self._coordinator)
        for rank, message in enumerate(messages):
            if rank != self._rank:
                self._send(message, rank)
        return messages[self._rank]

    def broadcast(self, message: bytes) -> bytes:
        source = dist.get_global_rank(self._group, self._coordinator)
        is_source = self._rank == self._coordinator
        with self._connection_to(None if is_source else self._coordinator):
            return self._broadcast(message, source, is_source)

    def _broadcast(self, message: bytes, source: int, is_source: bool) -> bytes:
        length = _kept(torch.tensor([len(message) if is_source else 0]))
        dist.broadcast(length, source, group=self._group)
        content = _to_tensor(message) if is_source else _empty(int(length))
        if int(length):
            dist.broadcast(content, source, group=self._group)
        return message if is_source else _to_bytes(content)

    def await_all(self, phase: str) -> None:
        assert self._presence is not None
        with self._connection_to(None):
            self._presence.wait_for_all(phase)

    def _send(self, message: bytes, rank: int) -> None:
        to = dist.get_global_rank(self._group, rank)
        with self._connection_to(rank):
            dist.send(_kept(torch.tensor([len(message)])), to, group=self._group)
            if message:
                dist.send(_to_tensor(message), to, group=self._group)

    def _receive(self, rank: int) -> bytes:
        source = dist.get_global_rank(self._group, rank)
        length = _kept(torch.zeros(1, dtype=torch.int64))
        with self._connection_to(rank):
            dist.recv(length, source, group=self._group)
            content = _empty(int(length))
            if content.numel():
                dist.recv(content, source, group=self._group)
        return _to_bytes(content)

    @contextlib.contextmanager
    def _connection_to(self, rank: int | None) -> Iterator[None]:
        """Notes in `broken` what goes wrong with `rank`, None if it is not known which."""
        try:
            yield
        except RankLostError as error:
            self.broken = error
            raise
        except RuntimeError as error:
            if rank is None:
                rank = self._rank
                why = f"lost its connection to the others: {error}"
            else:
                why = f"does not answer: {error}"
            self.broken = RankLostError(rank, why)
            raise self.broken from error


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    _recent.append(tensor)
    return tensor


def _empty(nbytes: int) -> torch.Tensor:
    return _kept(torch.empty(nbytes, dtype=torch.uint8))


def _to_tensor(message: bytes) -> torch.Tensor:
    return _kept(torch.frombuffer(bytearray(message), dtype=torch.uint8))


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return bytes(_core.as_buffer(tensor.data_ptr(), tensor.numel()))


def _with_cpu_backend(group: Any) -> Any:
    """`group`, or a gloo group of the same ranks if it cannot send CPU tensors."""
    if torch.device("cpu") in group._device_types:
        return group
    if group not in _cpu_groups:
        _cpu_groups[group] = dist.new_group(
            dist.get_process_group_ranks(group), backend="gloo", use_local_synchronization=True
        )
    return _cpu_groups[group]


def _store_of(group: Any, name: str) -> Any:
    store = dist.distributed_c10d._get_process_group_store(group)
    return dist.distributed_c10d.PrefixStore(f"dcpcpp/{name}", store)
