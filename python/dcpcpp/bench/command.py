"""`dcpcpp bench`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from dcpcpp.bench.contestants import dcpcpp_contestant, stock_contestant
from dcpcpp.bench.measures import (
    Outcome,
    Progress,
    contestants,
    measure_loads,
    measure_saves,
)
from dcpcpp.bench.meter import Samples
from dcpcpp.bench.report import plot, print_table, to_json
from dcpcpp.bench.states import llama_like, small_tensors

MEASURES = ("save", "load", "ranks", "tmpfs", "small")


def _on_disk(
    nbytes: int, folder: Path, repeats: int, wanted: set[str], say: Progress
) -> list[Outcome]:
    state = llama_like(nbytes)
    listed = contestants(state, folder, direct=True)
    outcomes = []
    if "save" in wanted:
        outcomes.append(measure_saves("durable save", state, listed, folder, repeats, say))
    if "load" in wanted:
        for cold in (True, False):
            name = "cold load" if cold else "warm load"
            outcomes.append(measure_loads(name, state, listed, folder, repeats, say, cold=cold))
    return outcomes


def _on_tmpfs(nbytes: int, folder: Path, repeats: int, say: Progress) -> list[Outcome]:
    state = llama_like(nbytes)
    listed = contestants(state, folder, direct=False)
    return [
        measure_saves("save on tmpfs", state, listed, folder, repeats, say),
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


def _by_ranks(ranks: int, nbytes: int, folder: Path, repeats: int, say: Progress) -> Outcome:
    say(f"durable save by {ranks} ranks")
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc_per_node={ranks}", "-m", "dcpcpp.bench.ranks"),
            *("--folder", str(folder), "--out", out.name),
            *("--nbytes", str(nbytes), "--repeats", str(repeats)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the ranks failed:\n{done.stderr[-2000:]}")
        fields: dict[str, Any] = json.loads(Path(out.name).read_text())
    fields["samples"] = {name: Samples(**s) for name, s in fields["samples"].items()}
    return Outcome(**fields)


def bench(
    folder: Annotated[
        Path, typer.Option("--dir", help="Where to write; needs 6 times the state's size.")
    ] = Path("out/bench"),
    gib: Annotated[float, typer.Option(help="Size of the Llama-like state, in GiB.")] = 2.0,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each measure.")] = 5,
    measure: Annotated[
        list[str], typer.Option(help=f"What to measure: {', '.join(MEASURES)}. Repeatable.")
    ] = list(MEASURES),  # noqa: B006  # typer reads it once
    small_count: Annotated[int, typer.Option(help="Number of small tensors.")] = 100_000,
    tmpfs: Annotated[Path, typer.Option(help="A directory on tmpfs.")] = Path("/dev/shm"),
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all samples here.")] = None,
    plot_out: Annotated[Path | None, typer.Option("--plot", help="Draw a PNG here.")] = None,
) -> None:
    """Measure saves and loads beside stock DCP, torch.save, safetensors and the raw device."""
    unknown = set(measure) - set(MEASURES)
    if unknown:
        raise typer.BadParameter(f"unknown measure {sorted(unknown)}; there are {MEASURES}")
    console = Console()
    torch.set_num_threads(1)
    nbytes = int(gib * 2**30)
    folder.mkdir(parents=True, exist_ok=True)
    shared = Path(tempfile.mkdtemp(prefix="dcpcpp-bench-", dir=tmpfs))
    outcomes: list[Outcome] = []
    try:
        with console.status("starting") as status:
            say = status.update
            wanted = set(measure)
            if wanted & {"save", "load"}:
                outcomes += _on_disk(nbytes, folder, repeats, wanted, say)
            if "ranks" in wanted:
                outcomes.append(_by_ranks(2, nbytes, folder, repeats, say))
            if "tmpfs" in wanted:
                outcomes += _on_tmpfs(nbytes, shared, repeats, say)
            if "small" in wanted:
                outcomes += _of_small_tensors(small_count, folder, repeats, say)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    for outcome in outcomes:
        print_table(outcome, console)
    if json_out is not None:
        parameters = {"gib": gib, "repeats": repeats, "measure": measure, "dir": str(folder)}
        json_out.write_text(to_json(outcomes, parameters))
    if plot_out is not None:
        plot(outcomes, plot_out)


__all__ = ["bench"]
