"""What `dcpcpp bench` measures, one measure after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcpcpp.bench.apart import run_apart
from dcpcpp.bench.contestants import (
    compression_contestants,
    dcpcpp_contestant,
    stock_contestant,
    verification_contestants,
)
from dcpcpp.bench.measures import (
    Outcome,
    Progress,
    contestants,
    measure_loads,
    measure_saves,
)
from dcpcpp.bench.meter import Samples
from dcpcpp.bench.states import llama_like, small_tensors

# What the contestants of a measure leave on tmpfs, six states and more, lies in memory.
_MAX_NBYTES_ON_TMPFS = 2 << 30
# Stock DCP takes several seconds for a GiB.
_MAX_NBYTES_COMPRESSED = 1 << 30
# A disk's own speed moves by a third from one save to the next: where it is the limit, a median
# of a few says little about two that are within a tenth of each other. So does that of memory,
# somewhat less, where a host lends it.
OFTEN_ON_DISK = 8
_OFTEN_ON_TMPFS = 4


def _on_disk(
    nbytes: int, folder: Path, repeats: int, wanted: frozenset[str], say: Progress
) -> list[Outcome]:
    state = llama_like(nbytes)
    listed = contestants(state, folder, direct=True)
    often = OFTEN_ON_DISK
    outcomes = []
    if "save" in wanted:
        outcomes.append(
            measure_saves("durable save", state, listed, folder, repeats, say, often=often)
        )
    if "load" in wanted:
        outcomes += [
            measure_loads("cold load", state, listed, folder, repeats, say, cold=True, often=often),
            measure_loads("warm load", state, listed, folder, repeats, say, cold=False),
        ]
    return outcomes


def _verification(nbytes: int, folder: Path, repeats: int, say: Progress) -> list[Outcome]:
    state = llama_like(nbytes)
    listed = verification_contestants()
    return [
        measure_loads("cold load, checked or not", state, listed, folder, repeats, say, cold=True),
        measure_loads("warm load, checked or not", state, listed, folder, repeats, say, cold=False),
    ]


def _compressed(nbytes: int, folder: Path, repeats: int, say: Progress) -> list[Outcome]:
    state = llama_like(min(nbytes, _MAX_NBYTES_COMPRESSED))
    listed = compression_contestants()
    return [
        measure_saves("durable save, zstd", state, listed, folder, repeats, say),
        measure_loads("warm load, zstd", state, listed, folder, repeats, say, cold=False),
    ]


def _on_tmpfs(nbytes: int, folder: Path, repeats: int, say: Progress) -> list[Outcome]:
    state = llama_like(min(nbytes, _MAX_NBYTES_ON_TMPFS))
    listed = contestants(state, folder, direct=False)
    return [
        measure_saves(
            "save on tmpfs",
            state,
            listed,
            folder,
            repeats,
            say,
            often=_OFTEN_ON_TMPFS,
            in_memory=True,
        ),
        measure_loads("load on tmpfs", state, listed, folder, repeats, say, cold=False),
    ]


def _of_small_tensors(count: int, folder: Path, repeats: int, say: Progress) -> list[Outcome]:
    state = small_tensors(count)
    listed = [dcpcpp_contestant(), stock_contestant(1, "stock DCP, default")]
    listed.append(stock_contestant(2, "stock DCP, thread_count=2"))
    what = f"{count:,} tensors of 4 KiB"
    return [
        measure_saves(f"durable save, {what}", state, listed, folder, repeats, say),
        measure_loads(f"warm load, {what}", state, listed, folder, repeats, say, cold=False),
    ]


def _run_ranks(ranks: int, module: str, *options: str) -> Any:
    """What the ranks of a module of ours report: JSON."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc_per_node={ranks}", "-m", f"dcpcpp.bench.{module}"),
            *("--out", out.name, "--often", str(OFTEN_ON_DISK), *options),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the ranks failed:\n{done.stderr[-2000:]}")
        return json.loads(Path(out.name).read_text())


def _outcome(fields: dict[str, Any]) -> Outcome:
    fields["samples"] = {name: Samples(**s) for name, s in fields["samples"].items()}
    return Outcome(**fields)


def measure_ranks(
    ranks: int, nbytes: int, folder: Path, repeats: int, say: Progress, layout: str = "native"
) -> Outcome:
    """Durable saves by several processes; see `dcpcpp.bench.ranks` for the layouts."""
    say(f"durable save by {ranks} ranks, {layout}")
    sizes = ("--nbytes", str(nbytes), "--repeats", str(repeats))
    fields = _run_ranks(ranks, "ranks", "--folder", str(folder), *sizes, "--layout", layout)
    return _outcome(fields)


def _measure_rank_loads(
    ranks: int, nbytes: int, folder: Path, repeats: int, say: Progress
) -> list[Outcome]:
    say(f"loads of replicas by {ranks} ranks")
    sizes = ("--nbytes", str(nbytes), "--repeats", str(repeats))
    listed = _run_ranks(ranks, "rank_loads", "--folder", str(folder), *sizes)
    return [_outcome(fields) for fields in listed]


@dataclass(frozen=True)
class Suite:
    """Which measures to take, where and of what size.

    Attributes:
        folder: on the disk to measure; created if absent.
        tmpfs: a directory on tmpfs.
        nbytes: size of the Llama-like state.
        repeats: of each measure; where the disk is the limit, dcpcpp and the raw device have
            eight times as many, and four times in saves on tmpfs.
        small_count: number of small tensors.
        wanted: names of measures, see MEASURES in `command`.
    """

    folder: Path
    tmpfs: Path
    nbytes: int
    repeats: int
    small_count: int
    wanted: frozenset[str]

    def run(self, say: Progress) -> list[Outcome]:
        """Take the measures, each in a fresh process; `say` is told which one is at work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shared = Path(tempfile.mkdtemp(prefix="dcpcpp-bench-", dir=self.tmpfs))
        nbytes, folder, repeats, wanted = self.nbytes, self.folder, self.repeats, self.wanted
        outcomes: list[Outcome] = []
        try:
            if wanted & {"save", "load"}:
                outcomes += run_apart(_on_disk, (nbytes, folder, repeats, wanted), say)
            if "verify" in wanted:
                outcomes += run_apart(_verification, (nbytes, folder, repeats), say)
            if "ranks" in wanted:
                outcomes.append(measure_ranks(2, nbytes, folder, repeats, say))
            if "rank-loads" in wanted:
                outcomes += _measure_rank_loads(4, nbytes, folder, repeats, say)
            if "tmpfs" in wanted:
                outcomes += run_apart(_on_tmpfs, (nbytes, shared, repeats), say)
            if "small" in wanted:
                outcomes += run_apart(_of_small_tensors, (self.small_count, folder, repeats), say)
            if "zstd" in wanted:
                outcomes += run_apart(_compressed, (nbytes, folder, repeats), say)
        finally:
            shutil.rmtree(shared, ignore_errors=True)
        return outcomes
