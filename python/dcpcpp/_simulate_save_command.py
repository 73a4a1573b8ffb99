"""simulate save: a save of a job that is not there, on a virtual clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import counted, print_columns, print_json, size_text
from dcpcpp._look_commands import AsJson
from dcpcpp._simulated_job import (
    MOST_ITEMS,
    MaxItems,
    Mesh,
    Model,
    Ranks,
    degrees_of,
    mesh_text,
    sample_text,
)

if TYPE_CHECKING:
    from dcpcpp import _core

RATES = ("device", "rank", "memory", "node", "storage", "messages")
ENDS = {
    "saved": "all ranks return, the checkpoint is published",
    "failed": "all ranks raise; nothing is published, what was there before is whole",
    "in doubt": "the checkpoint is published and whole, but ranks raise",
}
_FAILURES = {
    "kill": "the process of rank {} ends",
    "hang": "rank {} stops",
    "lose-node": "node {} is lost",
    "stall-node": "the storage of node {} hangs",
}
_FAILURE = re.compile(r"([a-z-]+):([0-9]+)@([a-z]+|[0-9.]+)")
_SLOW = re.compile(r"(?:(rank|node):)?([0-9]+)=([0-9.]+)")


def save(
    ranks: Ranks,
    model: Model,
    mesh: Mesh = "",
    ranks_per_node: Annotated[int, typer.Option(min=1, help="Of consecutive ranks.")] = 8,
    is_async: Annotated[
        bool, typer.Option("--async", help="The trainer waits for staging alone.")
    ] = False,
    rates: Annotated[
        str,
        typer.Option(
            help="GB/s, as in device=50,rank=4,node=10: a rank's copies from its device, its "
            "filling and checksums, memory (the same, of a node), disk or network of a node, "
            "storage (of all nodes), messages (of the coordinator). 0: no limit."
        ),
    ] = "",
    heartbeat: Annotated[
        float, typer.Option(help="Seconds of silence after which a rank is gone.")
    ] = 15.0,
    slow: Annotated[
        list[str] | None,
        typer.Option(help="Who is how many times slower: 17=4 or node:3=2. Repeatable."),
    ] = None,
    stragglers: Annotated[
        str, typer.Option(help="So many ranks, drawn by the seed, are slower: 10=4.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Draws the stragglers.")] = 0,
    fail: Annotated[
        str,
        typer.Option(
            help="kill:17@write, hang:17@3.5, lose-node:2@plan or stall-node:2@write: what fails, "
            "of which rank or node, after how many seconds or in the middle of plan, write, meet "
            "or commit."
        ),
    ] = "",
    max_items: MaxItems = MOST_ITEMS,
    as_json: AsJson = False,
) -> None:
    """Carry out a save of a job on a virtual clock: how long, who waits, what failures do.

    The code that plans saves says who writes what, as in `simulate plan`, in closed form. Ranks
    then stage, write, wait for each other and learn what was published, as saves do it; bytes
    move at the given rates, which are assumptions and not measured. Equal options give equal
    results.

    JSON: `model`, `mesh` (degrees by name), `ranks`, `nodes`, `ranks_planned` (fewer than
    `ranks`: a sample), `nbytes`, `items`, `metadata_nbytes`, `files`, `rates` (bytes a second),
    `rank_nbytes` and `node_nbytes` (written), `rank_seconds` (by part: `plan`, `stage`,
    `write`, `meet`, `commit`, `total` and `blocked`; of ranks that are alive at the end),
    `seconds` until the last rank has ended, `even_seconds` (with nobody slow and nothing lost),
    `last_rank` (to have written), `end` ("saved", "failed" or "in doubt"), and `loss`: null,
    or `ranks` that are gone, `seconds` and `noticed` (after the begin), `writing` (ranks that
    were not done then). Where there are many values it is `least`, `median`, `p99`, `most` and
    `mean` of them.
    """
    from dcpcpp import _core

    degrees = degrees_of(mesh, ranks)
    options = _core.SaveSimulationOptions()
    options.is_async = is_async
    options.ranks_per_node = ranks_per_node
    options.timeouts.heartbeat = heartbeat
    options.seed = seed
    _set_rates(rates, options)
    for text in slow or []:
        who, number, factor = _slow(text, "--slow", "17=4 or node:3=2")
        options.slow_down(who, number, factor)
    if stragglers:
        _, options.stragglers, options.straggler_factor = _slow(stragglers, "--stragglers", "10=4")
    if fail:
        options.fail(*_failure(fail))
    work = _core.plan_save_work(model, degrees, "closed-form", max_items)
    found = _core.simulate_save(work, options)
    if as_json:
        rates_used = {name: getattr(options.rates, name) for name in RATES}
        head = {"model": model, "mesh": degrees}
        print_json({**head, **_as_json(work, found), "rates": rates_used})
    else:
        _print_job(model, degrees, work, found, options)
        _print_parts(found)
        _print_end(found, fail)


def _set_rates(text: str, options: _core.SaveSimulationOptions) -> None:
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            rate = float(value)
        except ValueError:
            rate = -1.0
        if name not in RATES or not 0 <= rate < float("inf"):
            raise ValueError(
                f"--rates takes a list as in device=50,node=10 of {', '.join(RATES)}, not {part!r}"
            )
        setattr(options.rates, name, 1e9 * rate)


def _slow(text: str, option: str, example: str) -> tuple[str, int, float]:
    match = _SLOW.fullmatch(text)
    if match is None or (match[1] and option == "--stragglers"):
        raise ValueError(f"{option} takes {example}, not {text!r}")
    return match[1] or "rank", int(match[2]), float(match[3])


def _failure(text: str) -> tuple[str, int, float | str]:
    match = _FAILURE.fullmatch(text)
    if match is None or match[1] not in _FAILURES:
        raise ValueError(f"--fail takes {', '.join(_FAILURES)} as in kill:17@write, not {text!r}")
    when = match[3]
    return match[1], int(match[2]), when if when.isalpha() else float(when)


def _spread_json(spread: _core.Spread) -> dict[str, float]:
    return {name: getattr(spread, name) for name in ("least", "median", "p99", "most", "mean")}


def _as_json(work: _core.SaveWork, found: _core.SaveSimulation) -> dict[str, Any]:
    loss = found.loss
    return {
        "ranks": found.ranks,
        "nodes": found.nodes,
        "ranks_planned": work.ranks_planned,
        "nbytes": found.nbytes,
        "items": work.items,
        "metadata_nbytes": work.metadata_nbytes,
        "files": found.files,
        "rank_nbytes": _spread_json(found.rank_nbytes),
        "node_nbytes": _spread_json(found.node_nbytes),
        "rank_seconds": {name: _spread_json(spread) for name, spread in found.parts},
        "seconds": found.seconds,
        "even_seconds": found.even_seconds,
        "last_rank": found.last_rank,
        "end": found.end,
        "loss": None
        if loss is None
        else {
            "ranks": loss.ranks,
            "seconds": loss.seconds,
            "noticed": loss.noticed,
            "writing": loss.writing,
        },
    }


def _print_job(
    model: str,
    degrees: dict[str, int],
    work: _core.SaveWork,
    found: _core.SaveSimulation,
    options: _core.SaveSimulationOptions,
) -> None:
    mesh = f"{counted(found.ranks, 'rank')} of {counted(found.nodes, 'node')}{mesh_text(degrees)}"
    sample = sample_text(work.ranks_planned, found.ranks)
    limits = [
        f"{name} {getattr(options.rates, name) / 1e9:g}"
        for name in RATES
        if getattr(options.rates, name) > 0
    ]
    print_columns(
        [
            ("job", f"{model} with AdamW's state, {mesh}"),
            ("rates", f"{', '.join(limits)} GB/s"),
            ("written", f"{size_text(found.nbytes)} in {counted(found.files, 'file')}{sample}"),
            (".metadata", size_text(work.metadata_nbytes)),
            ("a rank", _load_text(found.rank_nbytes)),
            ("a node", _load_text(found.node_nbytes)),
        ],
        "<<",
    )
    typer.echo()


def _load_text(spread: _core.Spread) -> str:
    most = spread.most / spread.mean if spread.mean else 1.0
    return f"{size_text(round(spread.mean))}; at most {most:.3f} times it"


def _print_parts(found: _core.SaveSimulation) -> None:
    rows: list[tuple[str, ...]] = [("seconds", "least", "median", "p99", "most")]
    for name, spread in found.parts:
        values = (spread.least, spread.median, spread.p99, spread.most)
        rows.append((name, *(f"{value:,.3f}" for value in values)))
    print_columns(rows, "<>>>>")
    typer.echo()


def _print_end(found: _core.SaveSimulation, fail: str) -> None:
    loss = found.loss
    if loss is not None:
        kind, number, _ = _failure(fail)
        others = counted(loss.writing, "other rank")
        state = f"while {others} had not written" if loss.writing else "when all others had written"
        typer.echo(
            f"{_FAILURES[kind].format(number)} after {loss.seconds:,.3f} s: noticed "
            f"{loss.noticed - loss.seconds:,.3f} s later, {state}"
        )
    elif fail:
        typer.echo(f"{fail} changes nothing: its part was done")
    slower = found.seconds - found.even_seconds
    more = f", {slower:,.3f} s more than undisturbed" if slower > 0.0005 else ""
    typer.echo(f"{found.seconds:,.3f} s{more}; the last to have written was rank {found.last_rank}")
    typer.echo(f"{found.end}: {ENDS[found.end]}")
