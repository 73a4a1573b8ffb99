"""prune: the old steps of a run go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import counted, local_path, print_columns, print_json, safe
from dcpcpp._look_commands import AsJson

if TYPE_CHECKING:
    from dcpcpp import _core

NOT_REMOVED = 1
NEWEST_STEP = -1

# By the names of dcp::KeepReason, but for "in use": that is of the manager's own saves.
REASONS = {
    "newest": "one of the newest",
    "newest full": "the newest full one; newer ones hold the model only",
    "unreadable": "it cannot be loaded now, which may pass",
    "pinned": "pinned",
    "linked": "a link, to what may be another run's",
}


def prune(
    folder: Annotated[str, typer.Argument(help="Of a run, with steps named step-<number>.")],
    keep: Annotated[
        int, typer.Option(min=2, help="How many steps that can be loaded are kept.", metavar="K")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="A key beside the model's that makes a step a full one; may be given again. By "
            "default optimizer, lr_scheduler, dataloader and train_state.",
            metavar="NAME",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove the old steps of a run.

    Kept are the newest K steps that can be loaded (two at least: one may be about to be
    replaced), the newest full one, and pinned ones (with a file .dcpcpp.pin). Steps that are
    links stay, and do not count. A run's checkpoint manager does the same, if the states that it
    was given beside the model are those of --state.

    A step that another process saves into is not removed, either, and is told as such; --dry-run
    does not look for that.

    Exit code 0: done; 1: a step could not be removed; 2: nothing was done.

    JSON: `folder`, `keep`, `dry_run`, `removed` (a list of `step` and `path`; with --dry-run
    those that would go), `kept` (`step`, `path` and `reason`: "newest", "newest full",
    "unreadable", "pinned" or "linked") and `not_removed` (`path` and `reason`).
    """
    manager = _manager(folder, keep, state)
    not_removed: list[_core.NotRemoved] = []
    plan = manager.plan_retention()
    _require_full_step(manager, plan, folder)
    if dry_run:
        removed, kept = plan.removed, plan.kept
    else:
        report = manager.apply_retention()
        removed, kept, not_removed = report.removed, report.kept, report.not_removed
    if as_json:
        steps = _steps_json(removed, kept, not_removed)
        print_json({"folder": folder, "keep": keep, "dry_run": dry_run, **steps})
    else:
        _print_steps(removed, kept, not_removed, "would be removed" if dry_run else "removed")
    if not_removed:
        raise typer.Exit(NOT_REMOVED)


def _manager(folder: str, keep: int, states: list[str] | None) -> _core.CheckpointManager:
    from dcpcpp import _core

    options = _core.ManagerOptions()
    options.folder = local_path(folder)
    options.keep_latest_k = keep
    if states:
        options.state_keys = states
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return _core.CheckpointManager(options)


def _require_full_step(
    manager: _core.CheckpointManager, plan: _core.RetentionDecision, folder: str
) -> None:
    """Refuse to remove what may be the only full step.

    Raises:
        ValueError: no step has a key of the states, and DCP ones would go, which may hold states
            of other names.
    """
    if not any((Path(step.path) / ".metadata").exists() for step in plan.removed):
        return
    if not manager.find_load(NEWEST_STEP, None, False).is_model_only:
        return
    raise ValueError(
        f"no step in {folder} has the key of a state beside the model, so that none counts as a "
        "full one: name such keys by --state (`dcpcpp ls` lists them), or one of the model's if "
        "there is nothing else"
    )


def _steps_json(
    removed: list[_core.StepDirectory],
    kept: list[_core.KeptStep],
    not_removed: list[_core.NotRemoved],
) -> dict[str, Any]:
    return {
        "removed": [{"step": step.step, "path": step.path} for step in removed],
        "kept": [
            {"step": k.directory.step, "path": k.directory.path, "reason": k.reason} for k in kept
        ],
        "not_removed": [{"path": n.path, "reason": n.reason} for n in not_removed],
    }


def _print_steps(
    removed: list[_core.StepDirectory],
    kept: list[_core.KeptStep],
    not_removed: list[_core.NotRemoved],
    done: str,
) -> None:
    steps = [(step.step, step.path, done, "") for step in removed]
    steps += [(k.directory.step, k.directory.path, "kept", REASONS[k.reason]) for k in kept]
    rows = [(Path(path).name, word, why) for _, path, word, why in sorted(steps, reverse=True)]
    rows += [(Path(n.path).name, "not removed", n.reason) for n in not_removed]
    if rows:
        print_columns([tuple(map(safe, row)) for row in rows], "<<<")
    typer.echo(f"{counted(len(removed), 'step')} {done}, {len(kept):,} kept")
