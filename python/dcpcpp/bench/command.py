"""The command `dcpcpp bench`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dcpcpp.bench.hf_suite import HfSuite

MEASURES = ("save", "load", "verify", "ranks", "rank-loads", "tmpfs", "small", "zstd")


def _size(gib: float) -> float:
    if not 0 < gib < math.inf:  # nan is neither
        raise typer.BadParameter(f"a size above 0, not {gib}")
    return gib


def _ranks(ranks: int) -> int:
    if ranks < 16 or ranks % 16 != 0:
        raise typer.BadParameter(f"a multiple of 16, not {ranks}")
    return ranks


def bench(
    folder: Annotated[
        Path, typer.Option("--dir", help="Where to write; needs 6 times the state's size.")
    ] = Path("out/bench"),
    gib: Annotated[
        float, typer.Option(callback=_size, help="Size of the Llama-like state, in GiB.")
    ] = 2.0,
    repeats: Annotated[
        int,
        typer.Option(
            min=1, help="Repeats of each measure; 3 times as many of disk saves and cold loads."
        ),
    ] = 5,
    measure: Annotated[
        list[str], typer.Option(help=f"What to measure: {', '.join(MEASURES)}. Repeatable.")
    ] = list(MEASURES),  # noqa: B006  # typer reads it once
    small_count: Annotated[int, typer.Option(min=1, help="Number of small tensors.")] = 100_000,
    tmpfs: Annotated[Path, typer.Option(help="A directory on tmpfs.")] = Path("/dev/shm"),
    async_saves: Annotated[
        bool,
        typer.Option(
            "--async",
            help="Measure async saves, and nothing else; takes memory of 20 times the state.",
        ),
    ] = False,
    hf: Annotated[
        bool, typer.Option("--hf", help="Measure safetensors, and nothing else.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Measure planning on one core, and nothing else.")
    ] = False,
    plan_ranks: Annotated[
        int,
        typer.Option(
            callback=_ranks,
            help="Ranks in gather mode; stock DCP's are a sixteenth, closed form's 16 times it.",
        ),
    ] = 8192,
    programs: Annotated[
        Path | None,
        typer.Option(help="The folder of dcp_plan_bench, for --plan; else build/benchmarks."),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all samples here.")] = None,
    plot_out: Annotated[Path | None, typer.Option("--plot", help="Draw a PNG here.")] = None,
) -> None:
    """Measure saves and loads beside stock DCP, torch.save, safetensors and the raw device."""
    unknown = set(measure) - set(MEASURES)
    if unknown:
        raise typer.BadParameter(f"unknown measure {sorted(unknown)}; there are {MEASURES}")
    if plot_out is not None and (async_saves or plan):
        raise typer.BadParameter("--plot draws saves and loads, not --async and --plan")
    # Imported when it runs: these need torch, and `dcpcpp --help` does not.
    from rich.console import Console

    from dcpcpp.bench.report import plot, print_table, to_json
    from dcpcpp.bench.suite import Suite

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # names whole, in a file or a pipe
    if async_saves:
        _bench_async(folder, int(gib * 2**30), repeats, console, json_out)
        return
    if plan:
        _bench_plan(plan_ranks, repeats, programs, console, json_out)
        return
    nbytes = int(gib * 2**30)
    suite: Suite | HfSuite
    if hf:
        from dcpcpp.bench.hf_suite import HfSuite

        suite = HfSuite(folder, nbytes, repeats)
    else:
        suite = Suite(folder, tmpfs, nbytes, repeats, small_count, frozenset(measure))
    with console.status("starting") as status:
        outcomes = suite.run(status.update)
    for outcome in outcomes:
        print_table(outcome, console)
    if json_out is not None:
        taken = ["hf"] if hf else measure
        parameters = {"gib": gib, "repeats": repeats, "measure": taken, "dir": str(folder)}
        json_out.write_text(to_json(outcomes, parameters))
    if plot_out is not None:
        plot(outcomes, plot_out)


def _bench_async(
    folder: Path, nbytes: int, repeats: int, console: Console, json_out: Path | None
) -> None:
    from dcpcpp.bench.async_suite import AsyncSuite, print_outcome
    from dcpcpp.bench.report import to_json

    with console.status("starting") as status:
        outcomes = AsyncSuite(folder, nbytes, repeats).run(status.update)
    for outcome in outcomes:
        print_outcome(outcome, console)
    if json_out is not None:
        parameters = {"nbytes": nbytes, "repeats": repeats, "dir": str(folder)}
        json_out.write_text(to_json(outcomes, parameters))


def _bench_plan(
    ranks: int, repeats: int, programs: Path | None, console: Console, json_out: Path | None
) -> None:
    from dcpcpp.bench.bars import print_measured
    from dcpcpp.bench.plan_programs import DEFAULT_FOLDER
    from dcpcpp.bench.plan_suite import PlanSuite
    from dcpcpp.bench.report import to_json

    with console.status("starting") as status:
        found = PlanSuite(ranks, repeats, programs or DEFAULT_FOLDER).run(status.update)
    title = "planning a save of Llama 3 70B with AdamW's state, on one core"
    print_measured(found, title, console)
    if json_out is not None:
        json_out.write_text(to_json(found, {"plan_ranks": ranks, "repeats": repeats}))


__all__ = ["bench"]
