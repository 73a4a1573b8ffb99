"""What the ranks of the tests of async saves do."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException as TorchCheckpointException
from torch.distributed.checkpoint.staging import BlockingAsyncStager, StagingOptions

import dcpcpp
from dcpcpp._async_job import _own_groups
from support.forked_ranks import Rank
from support.held_files import held_files
from support.lost_ranks import Ending, attempt, state_of

IN_BACKGROUND = StagingOptions(False, False, True, False)


def train_beside_saves(me: Rank, directory: Path, count: int) -> int:
    """Collectives of the training go on while saves and a load run; the sum that came out."""
    stager = dcpcpp.DefaultStager(IN_BACKGROUND)
    weight = torch.zeros(300_000)
    total = 0
    for number in range(count):
        with dcpcpp.fence():
            weight.fill_(float(number))
        response = dcpcpp.async_save(
            {**state_of(me.rank, float(number)), "w": weight},
            checkpoint_id=directory / str(number),
            async_stager=stager,
        )
        if number > 1 and me.rank == 0:
            time.sleep(0.02)  # so that the ranks are not in step
        if number > 1:
            done = {**state_of(me.rank, 0.0), "w": torch.zeros(300_000)}
            dcpcpp.load(done, checkpoint_id=directory / "0")
            assert float(done["w"].sum()) == 0.0
        for _ in range(20):
            gradient = torch.ones(1)
            dist.all_reduce(gradient)
            total += int(gradient)
        if number == 0:
            response.upload_completion.result()
    stager.close()
    return total


class OwnPlanner(dcpcpp.DefaultSavePlanner):
    """With it, torch's protocol writes."""


def planner_for(protocol: str) -> OwnPlanner | None:
    return OwnPlanner() if protocol == "torch" else None


def fail_once(me: Rank, directory: Path, protocol: str) -> list[Ending]:
    """Rank 1 has no state for one save; how that, the next and a third end."""

    class Broken:
        def state_dict(self) -> dict[str, Any]:
            raise LookupError("no state on rank 1")

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    endings = []
    for state in ({"s": Broken()} if me.rank == 1 else {}, {}, {}):
        endings.append(
            attempt(
                lambda state=state: dcpcpp.async_save(
                    {**state_of(me.rank, 1.0), **state},
                    checkpoint_id=directory,
                    planner=planner_for(protocol),
                ).result()
            )
        )
    # Torch's protocol has a group of its own, which is made once.
    assert len(_own_groups) == (protocol == "torch")
    return endings


def fail_in_stager(me: Rank, directory: Path, protocol: str) -> list[Ending]:
    """Rank 1's stager fails in the background; how that save and the next end."""

    class Stager(BlockingAsyncStager):
        def stage(self, state_dict: dict[str, Any]) -> Any:
            copy: Future[dict[str, Any]] = Future()
            if me.rank == 1:
                copy.set_exception(TorchCheckpointException("no copy", {}))  # a BaseException
            else:
                copy.set_result(state_dict)
            return copy

    def save(stager: Any) -> None:
        response = dcpcpp.async_save(
            state_of(me.rank, 1.0),
            checkpoint_id=directory,
            planner=planner_for(protocol),
            async_stager=stager,
        )
        getattr(response, "upload_completion", response).result()

    return [attempt(lambda: save(Stager())), attempt(lambda: save(None))]


def leave_a_call(me: Rank, directory: Path) -> list[Ending]:
    """A signal takes rank 1 out of a call that waits for its copy; how that and others end."""
    blocking = StagingOptions(False, False, False, False)
    streamed = dcpcpp.DefaultStager(blocking, max_staging_bytes=0)

    def leave(*_: object) -> None:
        raise TimeoutError("it took too long on rank 1")

    def signal_when_begun() -> None:
        held.wait_until_begun()
        os.kill(os.getpid(), signal.SIGALRM)

    with held_files() as held:
        if me.rank == 1:
            signal.signal(signal.SIGALRM, leave)
            threading.Thread(target=signal_when_begun).start()
        else:
            held.release()
        first = attempt(
            lambda: dcpcpp.async_save(
                state_of(me.rank, 0.0), checkpoint_id=f"held://{directory}/0", async_stager=streamed
            )
        )
        held.release()
        return [first] + [
            attempt(
                lambda value=value: dcpcpp.async_save(
                    state_of(me.rank, value), checkpoint_id=directory / str(int(value))
                ).result()
            )
            for value in (1.0, 2.0)
        ]


def fail_unseen(me: Rank, directory: Path, protocol: str) -> list[Ending]:
    """Rank 1's storage fails, and only rank 0 looks at the future; how later saves end."""
    planner = planner_for(protocol)
    with held_files() as held:
        if me.rank == 1:
            held.error = OSError(28, "No space left on device")
        held.release()
        future = dcpcpp.async_save(
            state_of(me.rank, 1.0), checkpoint_id=f"held://{directory}", planner=planner
        )
        if me.rank == 0:
            first = attempt(future.result)
        else:
            while not future.done():
                time.sleep(0.001)
            first = attempt(lambda: None)
        held.error = None
        return [first] + [
            attempt(
                lambda: dcpcpp.async_save(
                    state_of(me.rank, 2.0), checkpoint_id=directory, planner=planner
                ).result()
            )
            for _ in range(2)
        ]


def die_in_background(me: Rank, directory: Path) -> list[Ending]:
    """Rank 1 is held in its writing, to be killed there; how rank 0's futures end."""
    dcpcpp.save(state_of(me.rank, 1.0), checkpoint_id=directory)
    with held_files() as held:
        if me.rank == 0:
            held.release()
        future = dcpcpp.async_save(state_of(me.rank, 2.0), checkpoint_id=f"held://{directory}")
        held.wait_until_begun()
        me.mark(f"writing-{me.rank}")
        return [attempt(future.result)]


def hang_on_one_rank(me: Rank, directory: Path) -> tuple[float, Ending, Ending]:
    """Rank 1's storage hangs; when the save began, how it ends, and the next one."""
    dcpcpp.async_save(state_of(me.rank, 1.0), checkpoint_id=directory / "first").result()
    with held_files() as held:
        if me.rank == 0:
            held.release()
        begun = time.monotonic()
        future = dcpcpp.async_save(
            state_of(me.rank, 2.0), checkpoint_id=f"held://{directory}/hangs"
        )
        ending = attempt(future.result)
        save = dcpcpp.async_save(state_of(me.rank, 3.0), checkpoint_id=directory / "after")
        return begun, ending, attempt(save.result)
