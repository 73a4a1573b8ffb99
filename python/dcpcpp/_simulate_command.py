"""simulate: what a job would take that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import counted, print_columns, print_json, size_text
from dcpcpp._look_commands import AsJson
from dcpcpp._simulate_save_command import save
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

MODES = {"closed-form": "in closed form", "gather": "of gathered plans"}

app = typer.Typer(help="Simulate jobs of any size.", no_args_is_help=True)
app.command("save")(save)


@app.command("plan")
def plan(
    ranks: Ranks,
    model: Model,
    mesh: Mesh = "",
    mode: Annotated[str, typer.Option(help="closed-form or gather.")] = "closed-form",
    max_items: MaxItems = MOST_ITEMS,
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
    from dcpcpp import _core

    degrees = degrees_of(mesh, ranks)
    found = _core.simulate_plan(model, degrees, mode, max_items)
    if as_json:
        print_json({"model": model, "mesh": degrees, "mode": mode, **_as_json(found)})
    else:
        _print(model, degrees, mode, found)


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
    states = f", {found.specs} different states" if found.specs > 1 else ""
    rows = [
        ("model", f"{model}, {counted(found.tensors, 'tensor')}, {found.elements:,} elements"),
        ("mesh", counted(found.ranks, "rank") + mesh_text(degrees)),
        ("state", f"{size_text(found.nbytes)} with AdamW's, {found.items:,} items held{states}"),
        ("planned", MODES[mode] + sample_text(found.ranks_planned, found.ranks)),
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
    estimate = sample_text(outcome.metadata_ranks, found.ranks)
    largest = outcome.max_load_nbytes / outcome.mean_load_nbytes
    rows = [
        ("written", f"{outcome.items:,} items"),
        (".metadata", size_text(outcome.metadata_nbytes) + estimate),
        ("a rank writes", f"{size_text(outcome.mean_load_nbytes)}; at most {largest:.3f} times it"),
    ]
    print_columns(rows, "<<")


def _traffic_text(traffic: _core.PlanTraffic) -> str:
    return f"{counted(traffic.messages, 'message')}, {size_text(traffic.nbytes)}"


def _step_rows(who: str, steps: list[tuple[str, float]]) -> list[tuple[str, str]]:
    return [
        (who if number == 0 else "", f"{1000 * seconds:,.3f} ms: {name}")
        for number, (name, seconds) in enumerate(steps)
    ]
