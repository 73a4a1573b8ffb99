"""What `dcpcpp bench --plan` measures: planning on one core, beside stock DCP, and `.metadata`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dcpcpp.bench.bars import Measured
from dcpcpp.bench.plan_programs import Section, run_program

Progress = Callable[[str], None]

# Of Llama 3 70B with AdamW's state; the bars are for so many.
RANKS = 8192
_FEWER, _MORE = 16, 16  # ranks that stock takes, ranks in closed form: RANKS / 16, RANKS * 16

_RESOLUTION = 1e-3  # of the seconds that programs print

_INDEX = re.compile(r"index of (\d+) chunks")
_COORDINATOR = ("reads the messages", "global plan", "writes the answers")
_LAYOUTS = ("FSDP, flat", "HSDP over TP", "FSDP over TP, in stages")


@dataclass(frozen=True)
class PlanSuite:
    """Which measures to take.

    Attributes:
        ranks: of gather mode; a multiple of 16. Stock DCP plans for a sixteenth of them, and
            16 times as many plan in closed form.
        repeats: of the programs; stock DCP plans once.
        programs: the folder of `dcp_plan_bench` and `dcp_closed_plan_bench`.
    """

    ranks: int
    repeats: int
    programs: Path

    def run(self, say: Progress) -> list[Measured]:
        """Take them, each in a process of its own; `say` is told which one is at work."""
        few, many = self.ranks // _FEWER, self.ranks * _MORE
        small = self._repeat("dcp_plan_bench", few, say)
        large = self._repeat("dcp_plan_bench", self.ranks, say)
        closed = self._repeat("dcp_closed_plan_bench", many, say)
        say(f"stock DCP, {few:,} ranks")
        stock = _stock(few)
        found = [
            *_gathering(few, small, stock),
            *_gathering(self.ranks, large),
            *_closed_form(many, closed),
            *_metadata(few, small),
        ]
        if self.ranks != RANKS:
            for one in found:
                one.bar = None
        return found

    def _repeat(self, program: str, ranks: int, say: Progress) -> list[dict[str, Section]]:
        runs = []
        for repeat in range(self.repeats):
            say(f"{program}, {ranks:,} ranks, {repeat + 1} of {self.repeats}")
            runs.append(run_program(program, ranks, self.programs))
        return runs


def _stock(ranks: int) -> dict[str, float]:
    command = [sys.executable, "-m", "dcpcpp.bench.plan_stock", "--ranks", str(ranks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"stock DCP's planning failed:\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _gathering(
    ranks: int, runs: list[dict[str, Section]], stock: dict[str, float] | None = None
) -> list[Measured]:
    where = f"gather mode, {ranks:,} ranks"
    columns = [run["columns"] for run in runs]
    seconds = [sum(run[f"coordinator: {step}"].value for step in _COORDINATOR) for run in columns]
    memory = [run["memory so far, peak"].value * 2**20 / 1e9 for run in columns]
    if stock is None:
        return [
            Measured(f"{where}: the coordinator", "s", seconds, bar=2.0),
            Measured(f"{where}: memory, all messages included", "GB", memory, bar=2.0),
        ]
    theirs = stock["read"] + stock["plan"] + stock["write"]
    return [
        Measured(f"{where}: the coordinator", "s", seconds),
        Measured(f"{where}: memory, all messages included", "GB", memory),
        Measured(f"{where}: stock DCP", "s", [theirs]),
        Measured(f"{where}: stock DCP's memory", "GB", [stock["peak_nbytes"] / 1e9]),
        Measured(
            f"{where}: stock DCP over dcpcpp",
            "x",
            [theirs / max(ours, _RESOLUTION) for ours in seconds],
            bar=100.0,
            is_floor=True,
        ),
    ]


def _closed_form(ranks: int, runs: list[dict[str, Section]]) -> list[Measured]:
    steps = ("a rank: who writes what", "a rank: its share")
    return [
        Measured(
            f"closed form, {ranks:,} ranks, {layout}: a rank",
            "ms",
            [sum(run[layout][step].value for step in steps) for run in runs],
            bar=1.0,
        )
        for layout in _LAYOUTS
    ]


def _metadata(ranks: int, runs: list[dict[str, Section]]) -> list[Measured]:
    items = [run["items"] for run in runs]
    where = f".metadata of {ranks:,} ranks"
    found = [
        Measured(
            f"{where}: {what}",
            "MB/s",
            [run[line].rate for run in items],
            bar=bar,
            is_floor=True,
        )
        for what, line, bar in (
            ("writes", "both: writes .metadata", 500.0),
            ("reads", "reads .metadata", 200.0),
        )
    ]
    lookups = [run["index: finding a tensor's chunks, each"].value / 1000 for run in items]
    (chunks,) = (int(of[1]) for of in map(_INDEX.fullmatch, items[0]) if of)
    found.append(Measured(f"finding a tensor's among {chunks:,} chunks", "us", lookups, bar=1.0))
    return found
