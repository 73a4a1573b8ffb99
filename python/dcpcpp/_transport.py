"""libdcp's Transport over a torch.distributed process group.

Messages are bytes in CPU tensors. Waiting for bulk I/O goes through the group's Store,
so that no collective, with its timeout, is pending while a rank writes.
"""

from __future__ import annotations

import collections
import time
import uuid
import weakref
from typing import Any

import torch
import torch.distributed as dist

from dcpcpp import _core

_POLL_SECONDS = (0.001, 0.05)  # first and longest pause between looks at the Store

# The last tensors that went through a collective. gloo's threads let go of a tensor some
# time after the collective is done; if theirs is the last reference while the interpreter
# shuts down, torch ends the process ("terminate called without an active exception").
_recent: collections.deque[torch.Tensor] = collections.deque(maxlen=16)

# CPU groups made for groups that have no CPU backend, one for each.
_cpu_groups: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def transport_for(process_group: Any, *, use_dist: bool, coordinator: int = 0) -> _core.Transport:
    """The transport of a save or load over `process_group` (None: the default group).

    Collective over the group, if `use_dist`.
    """
    if not use_dist:
        return _core.single_process_transport()
    group = process_group if process_group is not None else dist.group.WORLD
    if dist.get_world_size(group) == 1:
        return _core.single_process_transport()
    return ProcessGroupTransport(group, coordinator)


class ProcessGroupTransport(_core.Transport):
    """See dcp/transport.h for what each method promises."""

    def __init__(self, group: Any, coordinator: int) -> None:
        super().__init__()
        self._group = _with_cpu_backend(group)
        self._rank = dist.get_rank(group)
        self._world_size = dist.get_world_size(group)
        self._coordinator = coordinator
        # One name for the keys of this operation, the same on all ranks.
        self._name = self.broadcast(uuid.uuid4().bytes).hex()
        self._store = _store_of(group, self._name)

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
        length = _kept(torch.tensor([len(message) if is_source else 0]))
        dist.broadcast(length, source, group=self._group)
        content = _to_tensor(message) if is_source else _empty(int(length))
        if int(length):
            dist.broadcast(content, source, group=self._group)
        return message if is_source else _to_bytes(content)

    def await_all(self, phase: str) -> None:
        arrived, everyone = f"{phase}/arrived", f"{phase}/everyone"
        if self._store.add(arrived, 1) == self._world_size:
            self._store.set(everyone, b"1")
        pause, longest = _POLL_SECONDS
        while not self._store.check([everyone]):
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def _send(self, message: bytes, rank: int) -> None:
        to = dist.get_global_rank(self._group, rank)
        dist.send(_kept(torch.tensor([len(message)])), to, group=self._group)
        if message:
            dist.send(_to_tensor(message), to, group=self._group)

    def _receive(self, rank: int) -> bytes:
        source = dist.get_global_rank(self._group, rank)
        length = _kept(torch.zeros(1, dtype=torch.int64))
        dist.recv(length, source, group=self._group)
        content = _empty(int(length))
        if content.numel():
            dist.recv(content, source, group=self._group)
        return _to_bytes(content)


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
