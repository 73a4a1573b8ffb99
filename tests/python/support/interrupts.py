"""What the ranks do in the tests of Ctrl-C and of bulk I/O that is to end early."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

import dcpcpp
from support.forked_ranks import Rank
from support.lost_ranks import Ending, attempt

ROWS = 1 << 14
KIB_OF_A_ROW = 16  # 256 MiB in all


def save_and_load_large(
    me: Rank, directory: Path, count: int, compression: str | None
) -> list[str]:
    """Saves, and loads, until SIGINT comes; `count` times each in turns: how it ended.

    After each the checkpoint must be whole, of one value, and nothing else be there.
    """
    kinds = []
    value = 1.0
    dcpcpp.save(_state(me.rank, value), checkpoint_id=directory, compression=compression)
    for number in range(count):
        try:
            me.mark(f"begin-{number}-{me.rank}")  # the signal may come before it returns
            try:
                while True:
                    if number % 2 == 0:
                        state = _state(me.rank, value + 1.0)
                        dcpcpp.save(state, checkpoint_id=directory, compression=compression)
                        value += 1.0
                    else:
                        dcpcpp.load(_state(me.rank, 0.0), checkpoint_id=directory)
            except dcpcpp.CheckpointException:
                # The other rank was interrupted first; our own signal is on its way.
                time.sleep(5)
                kinds.append("no interrupt")
        except KeyboardInterrupt:
            kinds.append("KeyboardInterrupt")
        me.mark(f"end-{number}-{me.rank}")
        me.wait_for(f"next-{number}")
        value = _check_whole(me, directory)
        dcpcpp.save(_state(me.rank, value), checkpoint_id=directory, compression=compression)
        assert len(list(directory.iterdir())) == me.world_size + 2
    return kinds


def save_slowly(me: Rank, directory: Path) -> Ending:
    """Writes on rank 0 for a minute, in small pieces."""
    import fsspec
    from fsspec.implementations.local import LocalFileOpener, LocalFileSystem

    class SlowFile(LocalFileOpener):  # type: ignore[misc]  # fsspec has no types
        def write(self, data: Any) -> Any:
            if me.rank == 0:
                me.mark("writing")
                time.sleep(0.2)
            return super().write(data)

    class Slow(LocalFileSystem):  # type: ignore[misc]
        protocol = "slow"

        def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            return SlowFile(path, mode, fs=self, **kwargs)

        @classmethod
        def _strip_protocol(cls, path: str) -> Any:
            return super()._strip_protocol(path.removeprefix("slow://"))

    fsspec.register_implementation("slow", Slow, clobber=True)
    state = {f"own-{me.rank}": torch.ones(300 << 18)}
    return attempt(lambda: dcpcpp.save(state, checkpoint_id=f"slow://{directory}"))


def _state(rank: int, value: float) -> dict[str, torch.Tensor]:
    return {f"own-{rank}": torch.full((ROWS, KIB_OF_A_ROW * 256), value)}


def _check_whole(me: Rank, directory: Path) -> float:
    state = _state(me.rank, 0.0)
    dcpcpp.load(state, checkpoint_id=directory)
    (tensor,) = state.values()
    value = float(tensor[0, 0])
    assert bool((tensor == value).all())
    return value
