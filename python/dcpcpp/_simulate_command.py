"""simulate: what a job would take that is not there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import counted, print_columns, print_json, size_text, told
from dcpcpp._look_commands import AsJson

if TYPE_CHECKING:
    from dcpcpp import _core

DIMENSIONS = ("pp", "dp_replicate", "dp", "tp", "ep")  # as ranks are numbered, the slowest first
MODES = {"closed-form": "in closed form", "gather": "of gathered plans"}

app = typer.Typer(help="Simulate jobs of any size.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    pass  # without it, the only command would be the program


@app.command("plan")
def plan(
    ranks: Annotated[int, typer.Option(min=1, help="How many ranks the job has.")],
    model: Annotated[
        str, typer.Option(help="llama3-70b, llama3-405b or deepseek-v3, with AdamW's state.")
    ],
    mesh: Annotated[
        str,
        typer.Option(
            help="Degrees, as in dp=1024,tp=8,pp=16,ep=8; dp_replicate is HSDP's. "
            "dp is what the others leave of the ranks."
        ),
    ] = "",
    mode: Annotated[str, typer.Option(help="closed-form or gather.")] = "closed-form",
    max_items: Annotated[
        int,
        typer.Option(
            min=1, help="Plan so many items; of a job with more, a sample of ranks stands for all."
        ),
    ] = 32 << 20,
    as_json: AsJson = False,
) -> None:
    """Plan the save of a job by the code that plans saves: time, messages, metadata, balance.

    The layout is TorchTitan's: FSDP2 over dp, tensor parallelism, layers in pipeline stages,
    experts over ep. Times are the processor's on one core; the network's, and that of writing
    `.metadata`, are not in them.

    JSON: `model`, `mesh` (degrees by name), `mode`, `ranks`, `tensors` and `elements` of the
    model, `nbytes` and `items` of the state, `states` (how many differ), `ranks_planned` (fewer
    than `ranks`: a sample), `rank_seconds` and `coordinator_seconds` (by step), `first_save` and
    `unchanged_save` (`messages`, `nbytes`), and `outcome`: `items`, `metadata_nbytes`,
    `metadata_ranks` (whose items were serialized for that; the rest is put in at the same
    rate), `mean_load_nbytes` and `max_load_nbytes` of a rank. It is null in gather mode of a
    sample.
    """
    with told():
        from dcpcpp import _core

        degrees = degrees_of(mesh, ranks)
        found = _core.simulate_plan(model, degrees, mode, max_items)
        if as_json:
            print_json({"model": model, "mesh": degrees, "mode": mode, **_as_json(found)})
        else:
            _print(model, degrees, mode, found)


def degrees_of(mesh: str, ranks: int) -> dict[str, int]:
    """The degree of each dimension in `mesh`; what is not there is 1, and dp what is left.

    Raises:
        ValueError: `mesh` is no list of degrees, or is not one of `ranks` ranks.

    Example:
        >>> degrees_of("tp=8,pp=4", 256)
        {'pp': 4, 'dp_replicate': 1, 'dp': 8, 'tp': 8, 'ep': 1}
    """
    given: dict[str, int] = {}
    for part in filter(None, mesh.split(",")):
        name, _, text = part.partition("=")
        if name not in DIMENSIONS or not text.isdecimal() or int(text) < 1 or name in given:
            raise ValueError(
                f"--mesh takes a list as in dp=4,tp=8 of {', '.join(DIMENSIONS)}, not {part!r}"
            )
        given[name] = int(text)
    others = math.prod(given.get(name, 1) for name in ("pp", "dp_replicate", "tp"))
    given.setdefault("dp", max(ranks // others, 1))
    if others * given["dp"] != ranks:
        raise ValueError(f"--mesh {mesh} is one of {others * given['dp']:,} ranks, not {ranks:,}")
    return {name: given.get(name, 1) for name in DIMENSIONS}


def _as_json(found: _core.PlanSimulation) -> dict[str, Any]:
    return {
        "ranks": found.ranks,
        "tensors": found.tensors,
        "elements": found.elements,
        "nbytes": found.nbytes,
        "items": found.items,
        "states": found.specs,
        "ranks_planned": found.ranks_planned,
        "rank_seconds": dict(found.rank_steps),
        "coordinator_seconds": dict(found.coordinator_steps),
        "first_save": _traffic_json(found.first_save),
        "unchanged_save": _traffic_json(found.unchanged_save),
        "outcome": None if found.outcome is None else _outcome_json(found.outcome),
    }


def _outcome_json(outcome: _core.PlanOutcome) -> dict[str, int]:
    return {
        "items": outcome.items,
        "metadata_nbytes": outcome.metadata_nbytes,
        "metadata_ranks": outcome.metadata_ranks,
        "mean_load_nbytes": outcome.mean_load_nbytes,
        "max_load_nbytes": outcome.max_load_nbytes,
    }


def _traffic_json(traffic: _core.PlanTraffic) -> dict[str, int]:
    return {"messages": traffic.messages, "nbytes": traffic.nbytes}


def _print(model: str, degrees: dict[str, int], mode: str, found: _core.PlanSimulation) -> None:
    shown = ", ".join(f"{name}={degree}" for name, degree in degrees.items() if degree > 1)
    states = f", {found.specs} different states" if found.specs > 1 else ""
    rows = [
        ("model", f"{model}, {counted(found.tensors, 'tensor')}, {found.elements:,} elements"),
        ("mesh", f"{counted(found.ranks, 'rank')}{': ' if shown else ''}{shown}"),
        ("state", f"{size_text(found.nbytes)} with AdamW's, {found.items:,} items held{states}"),
        ("planned", MODES[mode] + _sample(found.ranks_planned, found.ranks)),
    ]
    print_columns(rows, "<<")
    typer.echo()
    print_columns(
        [
            ("first save", _traffic_text(found.first_save)),
            ("unchanged save", _traffic_text(found.unchanged_save)),
            *_step_rows("a rank", found.rank_steps),
            *_step_rows("the coordinator", found.coordinator_steps),
        ],
        "<<",
    )
    typer.echo()
    _print_outcome(found)


def _print_outcome(found: _core.PlanSimulation) -> None:
    outcome = found.outcome
    if outcome is None:
        typer.echo("what is written: not known of a sample of gathered plans")
        return
    estimate = _sample(outcome.metadata_ranks, found.ranks)
    largest = outcome.max_load_nbytes / outcome.mean_load_nbytes
    rows = [
        ("written", f"{outcome.items:,} items"),
        (".metadata", size_text(outcome.metadata_nbytes) + estimate),
        ("a rank writes", f"{size_text(outcome.mean_load_nbytes)}; at most {largest:.3f} times it"),
    ]
    print_columns(rows, "<<")


def _sample(some: int, ranks: int) -> str:
    return "" if some == ranks else f", from {some:,} ranks that stand for all"


def _traffic_text(traffic: _core.PlanTraffic) -> str:
    return f"{counted(traffic.messages, 'message')}, {size_text(traffic.nbytes)}"


def _step_rows(who: str, steps: list[tuple[str, float]]) -> list[tuple[str, str]]:
    return [
        (who if number == 0 else "", f"{1000 * seconds:,.3f} ms: {name}")
        for number, (name, seconds) in enumerate(steps)
    ]
