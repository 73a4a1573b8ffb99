"""What `dcpcpp bench --async` measures: how long saves block, and how they slow training."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dcpcpp.bench.async_contestants import MAKERS, is_installed
from dcpcpp.bench.measures import in_turns
from dcpcpp.bench.meter import drop_page_cache

Progress = Callable[[str], None]

_OURS, _FENCED, _BY_PROCESS = "dcpcpp", "dcpcpp, with a fence", "dcpcpp, PROCESS"
_STOCK = ("stock DCP, THREAD", "stock DCP, PROCESS, shared")
_RIVAL = "torch_checkpointing"
_RAW = "raw device"
_ALONE_SECONDS = 2.0  # of steps without a save, before each one
_RESAMPLES = 2000


@dataclass
class Times:
    """One measure: seconds by contestant, a value per repeat."""

    measure: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""


@dataclass
class Slowdown:
    """Steps beside saves and alone, by contestant: (alone, beside) of each repeat."""

    measure: str
    steps: dict[str, list[tuple[list[float], list[float]]]] = field(default_factory=dict)

    def percent(self, name: str) -> tuple[float, float, float]:
        """How much slower the mean step is beside a save, and its 95 % interval.

        Repeats are drawn with replacement (bootstrap), because steps of one save are not
        independent.
        """
        rounds = self.steps[name]
        draw = random.Random(0)
        resampled = sorted(
            _slowdown(draw.choices(rounds, k=len(rounds))) for _ in range(_RESAMPLES)
        )
        low, high = resampled[_RESAMPLES // 40], resampled[-_RESAMPLES // 40]
        return _slowdown(rounds), low, high

    def lost(self, name: str) -> float:
        """Seconds that one save has taken from the training, in the mean."""
        rounds = self.steps[name]
        alone = _step_alone(rounds)
        return statistics.mean(sum(beside) - len(beside) * alone for _, beside in rounds)


def _step_alone(rounds: list[tuple[list[float], list[float]]]) -> float:
    return statistics.mean(step for some, _ in rounds for step in some)


def _slowdown(rounds: list[tuple[list[float], list[float]]]) -> float:
    beside = statistics.mean(step for _, some in rounds for step in some)
    return 100 * (beside / _step_alone(rounds) - 1)


class _Process:
    """A worker."""

    def __init__(self, name: str, nbytes: int, tensors: int) -> None:
        self._name = name
        command = [sys.executable, "-m", "dcpcpp.bench.async_worker", "--contestant", name]
        command += ["--nbytes", str(nbytes), "--tensors", str(tensors)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        # click exits without a word on EPIPE; that it has ended is told by _answer().
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            what_next = "what it printed tells why"
            if status == -signal.SIGKILL:
                what_next = (
                    "it was killed, probably for want of memory: all of them together hold "
                    "20 times the state, so take a smaller --gib"
                )
            raise RuntimeError(
                f"the contestant {self._name} ended with status {status}; {what_next}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def _processes(names: list[str], nbytes: int, tensors: int = 0) -> Iterator[dict[str, _Process]]:
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in names:
            workers[name] = _Process(name, nbytes, tensors)
            stack.callback(workers[name].close)
        yield workers


@dataclass(frozen=True)
class AsyncSuite:
    """Measures of async saves.

    Attributes:
        folder: on the disk to measure.
        nbytes: size of the state.
        repeats: of each measure.
    """

    folder: Path
    nbytes: int
    repeats: int

    def run(self, say: Progress) -> list[Times | Slowdown]:
        """Take all of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return [
            *self._steady(say),
            *self._fenced(say),
            self._first(say),
        ]

    def _path(self) -> str:
        path = self.folder / "async"
        shutil.rmtree(path, ignore_errors=True)
        drop_page_cache(self.folder)
        return str(path)

    def _rounds(self, names: list[str], say: Progress, what: str) -> Iterator[str]:
        for repeat, name in in_turns(names, self.repeats):
            say(f"{what}: {name}, {repeat + 1} of {self.repeats}")
            yield name

    def _steady(self, say: Progress) -> list[Times | Slowdown]:
        """The Llama-like state, after a first save that is not counted."""
        full_copy = [_OURS, _BY_PROCESS, *_STOCK]
        names = [name for name in (*full_copy, _FENCED, _RIVAL, _RAW) if is_installed(name)]
        blocked = Times("async save: the call, with a full copy made before it returns")
        total = Times("async save: until it is on the disk")
        slowdown = Slowdown("training step beside an async save")
        blocked.seconds = {name: [] for name in ("one memcpy", *full_copy)}
        total.seconds = {name: [] for name in ("dcpcpp.save", *full_copy)}
        slowdown.steps = {name: [] for name in names}
        with _processes(names, self.nbytes) as workers:
            for worker in workers.values():
                worker.ask(do="save", path=self._path())
            workers[_OURS].ask(do="memcpy")
            for name in self._rounds([*full_copy, "one memcpy", "dcpcpp.save"], say, "blocking"):
                if name == "one memcpy":
                    blocked.seconds[name].append(workers[_OURS].ask(do="memcpy")["blocked"])
                elif name == "dcpcpp.save":
                    done = workers[_OURS].ask(do="sync save", path=self._path())
                    total.seconds[name].append(done["durable"])
                else:
                    done = workers[name].ask(do="save", path=self._path())
                    blocked.seconds[name].append(done["blocked"])
                    total.seconds[name].append(done["durable"])
            for name in self._rounds(names, say, "training"):
                done = workers[name].ask(do="train", path=self._path(), seconds=_ALONE_SECONDS)
                slowdown.steps[name].append((done["alone"], done["beside"]))
        return [blocked, total, slowdown]

    def _fenced(self, say: Progress) -> list[Times | Slowdown]:
        """2,000 tensors."""
        names = [name for name in (_FENCED, _RIVAL) if is_installed(name)]
        blocked = Times("async save of 2,000 tensors: the call, with a fence")
        fenced = Times("async save of 2,000 tensors: from the call's end until the fence opens")
        blocked.seconds = {name: [] for name in names}
        fenced.seconds = {name: [] for name in names}
        with _processes(names, self.nbytes, tensors=2000) as workers:
            for worker in workers.values():
                worker.ask(do="save", path=self._path())
            for name in self._rounds(names, say, "with a fence"):
                done = workers[name].ask(do="save", path=self._path())
                blocked.seconds[name].append(done["blocked"])
                fenced.seconds[name].append(done["fenced"])
        return [blocked, fenced]

    def _first(self, say: Progress) -> Times:
        """In a fresh process each."""
        names = [_OURS, "dcpcpp, after prewarm", _STOCK[0]]
        first = Times("the first async save: the call, with a full copy")
        first.seconds = {name: [] for name in names}
        for name in self._rounds(names, say, "first save"):
            contestant = name if name in MAKERS else _OURS
            with _processes([contestant], self.nbytes) as workers:
                if contestant != name:
                    workers[contestant].ask(do="prewarm")
                done = workers[contestant].ask(do="save", path=self._path())
                first.seconds[name].append(done["blocked"])
        return first


def print_outcome(outcome: Times | Slowdown, console: Console) -> None:
    """One table."""
    table = Table(title=outcome.measure)
    table.add_column("who")
    if isinstance(outcome, Times):
        for column in ("min ms", "median ms", "max ms"):
            table.add_column(column, justify="right")
        for name, seconds in outcome.seconds.items():
            values = (min(seconds), statistics.median(seconds), max(seconds))
            table.add_row(name, *(f"{1000 * value:.2f}" for value in values))
    else:
        for column in ("step ms", "beside a save", "95 % interval", "ms lost by a save"):
            table.add_column(column, justify="right")
        for name, rounds in outcome.steps.items():
            step = _step_alone(rounds)
            slower, low, high = outcome.percent(name)
            interval = f"{low:+.1f} to {high:+.1f} %"
            lost = f"{1000 * outcome.lost(name):.0f}"
            table.add_row(name, f"{1000 * step:.2f}", f"{slower:+.1f} %", interval, lost)
    console.print(table)
