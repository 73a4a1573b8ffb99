"""libdcp's Transport over a torch.distributed process group; see `_presence`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist

from dcpcpp import _core, _exceptions
from dcpcpp._errand import Errand
from dcpcpp._group import Group, group_of
from dcpcpp._lost_rank import RankLostError
from dcpcpp._presence import Presence
from dcpcpp.errors import RankFailuresError, raise_stop, raising_stops

# What an error about a lost rank calls the time before bulk I/O, during it, and after.
_PHASES = {"save": ("plan", "write", "commit"), "load": ("plan", "read", "read")}


@contextlib.contextmanager
def transport_for(
    process_group: Any,
    errand: Errand,
    *,
    use_dist: bool,
    coordinator: int = 0,
    channel: str = "foreground",
) -> Iterator[_core.Transport]:
    """The transport of a save or load over `process_group` (None: the default group).

    Collective over the group, if `use_dist`.

    Args:
        process_group: the ranks.
        errand: what this rank is about to do.
        use_dist: False for this process alone.
        coordinator: rank in the group that plans.
        channel: another one for an operation beside which one in the foreground may run; see
            `Group`.

    Raises:
        LostRankException: a rank is gone.
        MismatchedRanksException: the ranks are about to do different things.
        BusyCheckpointException: another thread of some rank was at work in the same group,
            and its operation may be another one than that of the other ranks.
        ValueError: the heartbeat's timeout is no number that it may be, or this process is
            not in the group.
    """
    if use_dist and process_group is dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("Invalid process group specified: this process is not in it")
    group = process_group if process_group is not None or not use_dist else dist.group.WORLD
    if not use_dist or dist.get_world_size(group) == 1:
        with _naming(errand), raising_stops():
            yield _core.single_process_transport()
        return
    ranks = group_of(group, channel)
    with _naming(errand), _turn(ranks) as was_free:
        errand = dataclasses.replace(errand, is_refused=not was_free)
        with _connected(ProcessGroupTransport(ranks, errand, coordinator)) as transport:
            yield transport


@contextlib.contextmanager
def _naming(errand: Errand) -> Iterator[None]:
    """Errors tell what was tried, and where."""
    try:
        yield
    except _exceptions.CheckpointException as error:
        error.attempt = errand.attempt()
        raise


@contextlib.contextmanager
def _turn(group: Group) -> Iterator[bool]:
    """The group for this thread; whether no other one had it.

    If one had, this operation fails, but on all ranks: the others wait for it.
    """
    was_free = group.turn.acquire(blocking=False)
    if not was_free:
        group.turn.acquire()
    try:
        yield was_free
    finally:
        group.turn.release()


@contextlib.contextmanager
def _connected(transport: ProcessGroupTransport) -> Iterator[ProcessGroupTransport]:
    try:
        with raising_stops():
            transport.connect()
            yield transport
    except (RankFailuresError, _exceptions.CheckpointException) as error:
        transport.leave(None)  # all ranks have it
        if isinstance(error, _exceptions.CheckpointException):
            error.global_ranks = transport.global_ranks()
        raise
    except BaseException as error:
        transport.leave(error if transport.lost is None else transport.lost)
        if transport.lost is None or not isinstance(error, Exception):  # Ctrl-C
            raise
        raise _exceptions.lost_rank(transport.lost) from transport.lost
    else:
        transport.leave(None)


class ProcessGroupTransport(_core.Transport):
    """See dcp/transport.h for what each method promises."""

    def __init__(self, group: Group, errand: Errand, coordinator: int) -> None:
        super().__init__()
        self._group = group
        self._phases = _PHASES[errand.kind]
        self._coordinator = coordinator
        self._presence = Presence(group, coordinator, errand)
        self._calls = 0  # the same on all ranks: it names messages
        self._has_gathered = False
        self._has_moved_bytes = False
        self.lost: RankLostError | None = None

    @property
    def plan_cache(self) -> _core.PlanCache:
        """What the ranks remember of the last plan of their saves."""
        return self._group.plan_cache

    def global_ranks(self) -> list[int]:
        """The number in the job of each rank."""
        return [self._group.global_rank(rank) for rank in range(self._group.world_size)]

    def connect(self) -> None:
        """Meet the other ranks; before any other call. Collective."""
        with self._noting_loss():
            self._presence.arrive()
        self._presence.phase = self._phases[0]

    def leave(self, error: BaseException | None) -> None:
        """Take no further part. `error`: what the other ranks do not know of."""
        self._presence.leave(error)

    def rank(self) -> int:
        return self._group.rank

    def world_size(self) -> int:
        return self._group.world_size

    def coordinator(self) -> int:
        return self._coordinator

    def gather(self, message: bytes) -> list[bytes]:
        raise_stop()
        name = self._next_call()
        self._has_gathered = True
        if not self._has_moved_bytes:  # planning takes more than one question
            self._presence.phase = self._phases[0]
        with self._noting_loss():
            if self._group.rank != self._coordinator:
                self._presence.put(f"{name}/{self._group.rank}", message)
                return []
            messages = [
                message
                if rank == self._coordinator
                else self._presence.take(f"{name}/{rank}", rank)
                for rank in range(self._group.world_size)
            ]
            self._presence.check()  # it may have been stopped for long, and given up
            return messages

    def scatter(self, messages: list[bytes]) -> bytes:
        raise_stop()
        name = self._next_call()
        with self._noting_loss():
            if self._group.rank != self._coordinator:
                reply = self._presence.take(f"{name}/{self._group.rank}", self._coordinator)
            else:
                reply = messages[self._coordinator]
                for rank, message in enumerate(messages):
                    if rank != self._coordinator:
                        self._presence.put(f"{name}/{rank}", message)
        self._end_planning()
        return reply

    def broadcast(self, message: bytes) -> bytes:
        name = self._next_call()
        readers = self._group.world_size
        with self._noting_loss():
            if self._group.rank != self._coordinator:
                message = self._presence.take(name, self._coordinator, readers=readers)
            else:
                self._presence.put(name, message, readers=readers)
                self._presence.check()  # as above
        self._end_planning()
        return message

    def await_all(self, phase: str) -> None:
        raise_stop()
        with self._noting_loss():
            self._presence.phase = self._phases[1]
            self._has_moved_bytes = True
            self._presence.wait_for_all(phase)
            self._presence.phase = self._phases[2]

    def check(self) -> None:
        with self._noting_loss():
            self._presence.check_quickly()

    def _end_planning(self) -> None:
        """After the reply to what was gathered: from there on bytes move."""
        if self._has_gathered and self._presence.phase == self._phases[0]:
            self._presence.phase = self._phases[1]

    def _next_call(self) -> str:
        self._calls += 1
        return str(self._calls)

    @contextlib.contextmanager
    def _noting_loss(self) -> Iterator[None]:
        """Keeps a RankLostError, which passes through libdcp as a Status."""
        try:
            yield
        except RankLostError as error:
            self.lost = error
            raise
