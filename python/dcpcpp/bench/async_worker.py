"""The process of one contestant of `dcpcpp bench --async`: takes orders on stdin, a JSON line each.

{"do": "save", "path": p}            -> {"blocked": s, "fenced": s, "durable": s}
{"do": "sync save", "path": p}       -> {"durable": s}, dcpcpp's synchronous save
{"do": "memcpy"}                     -> {"blocked": s}, one copy of the state by one thread
{"do": "prewarm"}                    -> {}
{"do": "train", "path": p, "seconds": s} -> {"alone": [s, ...], "beside": [s, ...]}
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import dcpcpp
from dcpcpp.bench.async_contestants import MAKERS, AsyncContestant, quiet
from dcpcpp.bench.meter import sync_names
from dcpcpp.bench.states import Tensors, llama_like, many_tensors

_STEP_SIZE = 700  # a product of two such matrices takes some 10 ms of a core


class Worker:
    """Has a state and a contestant."""

    def __init__(self, contestant: AsyncContestant, state: Tensors) -> None:
        self._contestant = contestant
        self._state = state
        self._copy: Tensors = {}
        self._matrix = torch.randn(_STEP_SIZE, _STEP_SIZE)

    def save(self, path: Path) -> dict[str, Any]:
        """One save to the end."""
        begin = time.perf_counter()
        pending = self._contestant.save(self._state, path)
        blocked = time.perf_counter() - begin
        pending.fence()
        fenced = time.perf_counter() - begin - blocked
        pending.wait()
        return {"blocked": blocked, "fenced": fenced, "durable": time.perf_counter() - begin}

    def sync_save(self, path: Path) -> dict[str, Any]:
        """For the total time."""
        begin = time.perf_counter()
        dcpcpp.save(self._state, checkpoint_id=path)
        sync_names(path)
        return {"durable": time.perf_counter() - begin}

    def memcpy(self) -> dict[str, Any]:
        """Into memory that has been touched."""
        if not self._copy:
            self._copy = {key: torch.zeros_like(tensor) for key, tensor in self._state.items()}
        begin = time.perf_counter()
        for key, tensor in self._state.items():
            self._copy[key].copy_(tensor)
        return {"blocked": time.perf_counter() - begin}

    def prewarm(self) -> dict[str, Any]:
        """If it can."""
        self._contestant.prewarm(self._state)
        return {}

    def train(self, path: Path, seconds: float) -> dict[str, Any]:
        """Steps for a while, then a save, and steps until it is done."""
        end = time.perf_counter() + seconds
        alone = self._steps(lambda: time.perf_counter() < end)
        pending = self._contestant.save(self._state, path)
        waiter = threading.Thread(target=pending.wait)
        waiter.start()
        pending.fence()
        beside = self._steps(waiter.is_alive)
        waiter.join()
        return {"alone": alone, "beside": beside}

    def _steps(self, goes_on: Callable[[], bool]) -> list[float]:
        durations = []
        while goes_on():
            begin = time.perf_counter()
            torch.mm(self._matrix, self._matrix)
            durations.append(round(time.perf_counter() - begin, 6))
        return durations

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order."""
        what = order["do"]
        if what == "save":
            return self.save(Path(order["path"]))
        if what == "sync save":
            return self.sync_save(Path(order["path"]))
        if what == "memcpy":
            return self.memcpy()
        if what == "prewarm":
            return self.prewarm()
        if what == "train":
            return self.train(Path(order["path"]), order["seconds"])
        raise ValueError(f"no such order: {order}")


def main() -> None:
    """Until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--contestant", required=True, choices=list(MAKERS))
    parser.add_argument("--nbytes", type=int, required=True)
    parser.add_argument("--tensors", type=int, default=0, help="0: Llama-like")
    arguments = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    # What the contestants print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    state = (
        many_tensors(arguments.tensors, arguments.nbytes)
        if arguments.tensors
        else llama_like(arguments.nbytes)
    )
    contestant = MAKERS[arguments.contestant]()
    worker = Worker(contestant, state)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(worker.obey(json.loads(line))), file=answers, flush=True)
    contestant.close()


if __name__ == "__main__":
    main()
