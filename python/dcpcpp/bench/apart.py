"""A measure in a process of its own: what an earlier one left in memory is not its own."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from dcpcpp.bench.measures import Outcome, Progress


def run_apart(
    measure: Callable[..., list[Outcome]], arguments: tuple[Any, ...], say: Progress
) -> list[Outcome]:
    """`measure(*arguments, say)` in a fresh process, by one thread of torch.

    Raises:
        RuntimeError: the measure raised, its traceback is in the message; or its process died.
    """
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_run, args=(sender, measure, arguments))
    process.start()
    sender.close()
    try:
        while True:
            kind, value = receiver.recv()
            if kind == "done":
                return list(value)
            if kind == "failed":
                raise RuntimeError(f"a measure failed:\n{value}")
            say(value)
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the process of a measure ended with exit code {process.exitcode}"
        ) from None
    finally:
        receiver.close()
        process.join()


def _run(
    sender: Connection, measure: Callable[..., list[Outcome]], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    try:
        outcomes = measure(*arguments, lambda text: sender.send(("progress", text)))
    except Exception:
        sender.send(("failed", traceback.format_exc()))
    else:
        sender.send(("done", outcomes))


__all__ = ["run_apart"]
