"""Runs functions on real ranks: processes that gloo joins.

    results = run_on_ranks(4, my_function, path)

calls the module-level function `my_function(path)` on every rank, inside a default
process group of 4, and returns what each rank returned. Processes are kept between
calls, because starting one takes seconds; after a failure they are replaced. Nothing
here waits for ever: see RankPool.run.
"""

from __future__ import annotations

import datetime
import multiprocessing
import pathlib
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

_START_SECONDS = 120.0
_GRACE_SECONDS = 20.0  # for the other ranks, once one has failed
_COLLECTIVE_TIMEOUT = datetime.timedelta(seconds=90)

Function = Callable[..., Any]


class RankError(AssertionError):
    """Some ranks failed; the message holds the traceback of each.

    Attributes:
        by_rank: rank -> traceback, or what is known of a rank that went silent.
    """

    def __init__(self, by_rank: dict[int, str]) -> None:
        text = "\n".join(f"--- rank {rank}\n{report}" for rank, report in sorted(by_rank.items()))
        super().__init__(f"{len(by_rank)} rank(s) failed\n{text}")
        self.by_rank = by_rank


class RankPool:
    """`world_size` processes in one default process group. One thread at a time."""

    def __init__(self, world_size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.mkdtemp(prefix="dcpcpp-ranks-")
        self._processes = []
        self._connections: list[connection.Connection] = []
        self.is_broken = False
        for rank in range(world_size):
            ours, theirs = context.Pipe()
            store = str(pathlib.Path(self._folder) / "store")
            process = context.Process(
                target=_serve, args=(rank, world_size, store, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)
        self._collect(_START_SECONDS)

    def run(self, function: Function, *args: Any, timeout: float = 120.0) -> list[Any]:
        """Call `function(*args)` on every rank; what each returned, by rank.

        Args:
            function: of a module that the ranks can import.
            args: picklable.
            timeout: seconds until ranks that have not answered count as hung.

        Raises:
            RankError: a rank raised, died or hung. The pool is of no more use then.
        """
        for pipe in self._connections:
            pipe.send((function, args))
        return self._collect(timeout)

    def _collect(self, timeout: float) -> list[Any]:
        deadline = time.monotonic() + timeout
        waiting = dict(enumerate(self._connections))
        results: dict[int, Any] = {}
        failures: dict[int, str] = {}
        while waiting:
            ready = connection.wait(waiting.values(), max(deadline - time.monotonic(), 0.0))
            if not ready:
                break
            for rank in [rank for rank, pipe in waiting.items() if pipe in ready]:
                try:
                    succeeded, value = waiting.pop(rank).recv()
                except EOFError:
                    self._processes[rank].join(5)
                    succeeded, value = False, f"died: exit code {self._processes[rank].exitcode}"
                (results if succeeded else failures)[rank] = value
            if failures:
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        failures.update(dict.fromkeys(waiting, "did not answer in time"))
        if failures:
            self.is_broken = True
            raise RankError(failures)
        return [results[rank] for rank in range(len(self._connections))]

    def close(self) -> None:
        """End the processes, by force if they are stuck."""
        for pipe in self._connections:
            try:
                if not self.is_broken:
                    pipe.send(None)
            except OSError:
                pass
            finally:
                pipe.close()
        for process in self._processes:
            process.join(0 if self.is_broken else 20)
            if process.is_alive():
                process.kill()
                process.join()
        shutil.rmtree(self._folder, ignore_errors=True)


_pools: dict[int, RankPool] = {}


def run_on_ranks(
    world_size: int, function: Function, *args: Any, timeout: float = 120.0
) -> list[Any]:
    """See RankPool.run; the pool of `world_size` ranks is kept for the next caller."""
    pool = _pools.get(world_size)
    if pool is None:
        pool = _pools[world_size] = RankPool(world_size)
    try:
        return pool.run(function, *args, timeout=timeout)
    finally:
        if pool.is_broken:
            _pools.pop(world_size).close()


def close_pools() -> None:
    """End all processes that are kept."""
    while _pools:
        _pools.popitem()[1].close()


def _serve(rank: int, world_size: int, store: str, pipe: connection.Connection) -> None:
    import torch
    import torch.distributed as dist

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world_size,
        timeout=_COLLECTIVE_TIMEOUT,
    )
    pipe.send((True, None))
    while (request := _next_request(pipe)) is not None:
        function, args = request
        try:
            answer = (True, function(*args))
        except BaseException:  # torch's CheckpointException is no Exception
            answer = (False, traceback.format_exc())
        pipe.send(answer)
    dist.destroy_process_group()


def _next_request(pipe: connection.Connection) -> tuple[Function, tuple[Any, ...]] | None:
    try:
        request: tuple[Function, tuple[Any, ...]] | None = pipe.recv()
    except EOFError:  # the tests are gone
        return None
    return request
