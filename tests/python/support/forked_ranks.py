"""Jobs whose ranks are forks of one process that has torch imported: a start takes 0.1 s.

    with start_job(4, my_function, path) as job:
        os.kill(job.pids[2], signal.SIGKILL)
        print(job.told(0))

calls the module-level `my_function(me, path)` in four processes that gloo joins; `me` is
a `Rank`, and `job.told(rank)` is what the function returned there. Rank 0 serves the
group's store, as without torchrun. When the block ends, so do the processes. Several
threads may run jobs at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import functools
import multiprocessing
import os
import pathlib
import pickle
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

_START_SECONDS = 180.0
_PR_SET_PDEATHSIG = 1

Function = Callable[..., Any]


@dataclass(frozen=True)
class Rank:
    """What a function that runs as a rank knows.

    Attributes:
        rank: its number.
        world_size: how many there are.
        folder: the same for all, fresh for the job.
    """

    rank: int
    world_size: int
    folder: pathlib.Path

    def mark(self, name: str) -> None:
        """Let Job.wait_for(name) return."""
        # One system call: a Ctrl-C that follows finds no file of ours open.
        (self.folder / name).mkdir(exist_ok=True)

    def wait_for(self, name: str) -> None:
        """Return once somebody has marked `name`."""
        while not (self.folder / name).exists():
            time.sleep(0.002)


@dataclass(frozen=True)
class Job:
    """A job that runs. See the module.

    Attributes:
        pids: the process of each rank.
        folder: see Rank.
    """

    pids: list[int]
    folder: pathlib.Path

    def mark(self, name: str) -> None:
        """Let Rank.wait_for(name) return."""
        (self.folder / name).touch()

    def wait_for(self, name: str, timeout: float = 60.0) -> None:
        """Return once a rank has marked `name`."""
        deadline = time.monotonic() + timeout
        while not (self.folder / name).exists():
            if time.monotonic() > deadline:
                answers = [pickle.loads(path.read_bytes()) for path in self.folder.glob("told-*")]
                raise AssertionError(f"no {name}:\n{answers}\n{self.errors()}")
            time.sleep(0.002)

    def told(self, rank: int, timeout: float = 60.0) -> Any:
        """What the function returned on `rank`.

        Raises:
            AssertionError: it raised, or the process ended, or it took too long.
        """
        path = self.folder / f"told-{rank}"
        deadline = time.monotonic() + timeout
        while not path.exists():
            has_ended = not self.is_running(rank) and not path.exists()
            if has_ended or time.monotonic() > deadline:
                what = "ended" if has_ended else "did not end"
                raise AssertionError(f"rank {rank} {what} without an answer\n{self.errors()}")
            time.sleep(0.002)
        succeeded, value = pickle.loads(path.read_bytes())
        if not succeeded:
            raise AssertionError(f"on rank {rank}:\n{value}\n{self.errors()}")
        return value

    def all_told(self, timeout: float = 60.0) -> list[Any]:
        """What the function returned on every rank."""
        return [self.told(rank, timeout) for rank in range(len(self.pids))]

    def is_running(self, rank: int) -> bool:
        return is_running(self.pids[rank])

    def errors(self) -> str:
        """The last lines that the ranks wrote to stderr."""
        files = sorted(self.folder.glob("stderr-*"))
        return "\n".join(f"{file.name}: {file.read_text()[-3000:]}" for file in files)


def is_running(process: int) -> bool:
    """Whether a process has not ended with all of its threads; its parent may not know yet."""
    folder = pathlib.Path(f"/proc/{process}")
    try:
        has_ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
        return not has_ended or len(list((folder / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def start_job(
    world_size: int,
    function: Function,
    *args: Any,
    timeout: float = 60.0,
    environment: dict[str, str] | None = None,
) -> Iterator[Job]:
    """Run `function(me, *args)` as each of `world_size` ranks.

    Args:
        world_size: how many.
        function: of a module that the ranks can import.
        args: picklable.
        timeout: of the process group, in seconds.
        environment: variables to set in the ranks.
    """
    with tempfile.TemporaryDirectory(prefix="dcpcpp-job-") as folder:
        pids = _ask((world_size, function, args, timeout, environment or {}, folder))
        try:
            yield Job(pids, pathlib.Path(folder))
        finally:
            _ask(pids)


def close_server() -> None:
    """End the process that makes ranks."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


def _ask(request: Any) -> Any:
    with _asking:
        pipe = _server()
        pipe.send(request)
        return pipe.recv()


_asking = threading.Lock()


@functools.cache
def _server() -> connection.Connection:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs,), daemon=True
    )
    process.start()
    theirs.close()
    if not ours.poll(_START_SECONDS):
        raise AssertionError("the process that makes ranks did not start")
    ours.recv()
    return ours


def _serve(pipe: connection.Connection) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    # torch asks for the name of the store's address, though it has no use for it.
    os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
    _import_everything()
    pipe.send(None)
    while True:
        try:
            request = pipe.recv()
        except EOFError:  # the tests are gone
            return
        if isinstance(request, list):
            pipe.send(_end(request))
        else:
            pipe.send(_fork(pipe, *request))


def _import_everything() -> None:
    """What a save and a load import when they first run; no thread may remain."""
    import torch
    import torch.distributed.checkpoint

    import dcpcpp

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for library in (dcpcpp, torch.distributed.checkpoint):
            library.save({"x": torch.ones(3)}, checkpoint_id=f"{folder}/c")
            library.load({"x": torch.ones(3)}, checkpoint_id=f"{folder}/c")


def _fork(
    pipe: connection.Connection,
    world_size: int,
    function: Function,
    args: tuple[Any, ...],
    timeout: float,
    environment: dict[str, str],
    folder: str,
) -> list[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    pids = []
    for rank in range(world_size):
        pid = os.fork()
        if pid == 0:
            os.environ.update(environment)
            pipe.close()
            me = Rank(rank, world_size, pathlib.Path(folder))
            _run(me, function, args, timeout, listener)
        pids.append(pid)
    listener.close()
    return pids


def _end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _run(
    me: Rank, function: Function, args: tuple[Any, ...], timeout: float, listener: socket.socket
) -> None:
    """In the fork; ends the process."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
        with (me.folder / f"stderr-{me.rank}").open("w") as stderr:
            os.dup2(stderr.fileno(), 2)
        _join(me, timeout, listener)
        answer = (True, function(me, *args))
    except BaseException:
        answer = (False, traceback.format_exc())
    try:
        written = me.folder / f".told-{me.rank}"
        written.write_bytes(pickle.dumps(answer))
        written.rename(me.folder / f"told-{me.rank}")
        sys.stderr.flush()
    finally:
        # Not at once, because rank 0 has the store; the job's end kills.
        signal.pause()
        os._exit(0)


def _join(me: Rank, timeout: float, listener: socket.socket) -> None:
    import torch.distributed as dist

    port = listener.getsockname()[1]
    is_server = me.rank == 0
    store = dist.TCPStore(
        "127.0.0.1",
        port,
        me.world_size,
        is_master=is_server,
        master_listen_fd=listener.detach() if is_server else None,
        timeout=datetime.timedelta(seconds=timeout),
        wait_for_workers=False,
    )
    if not is_server:
        listener.close()
    dist.init_process_group(
        "gloo",
        store=store,
        rank=me.rank,
        world_size=me.world_size,
        timeout=datetime.timedelta(seconds=timeout),
    )
