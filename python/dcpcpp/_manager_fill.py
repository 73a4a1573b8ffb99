"""How states are filled from a checkpoint: on all ranks, or on none without an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from torch.distributed.checkpoint.stateful import Stateful

from dcpcpp._inspect import load_full
from dcpcpp._manager_ranks import on_all_ranks
from dcpcpp._manager_start import Start
from dcpcpp._manager_states import MODEL, DictState, FailedState
from dcpcpp._native_path import flatten
from dcpcpp._save_load import load
from dcpcpp._state_dict import Path


def fill(
    model: Stateful | None,
    others: Mapping[str, Stateful],
    start: Start,
    group: Any,
    options: Mapping[str, Any],
) -> None:
    """Fill `model` and `others` from the checkpoint of `start`, in PyTorch's format.

    Collective over `group`. If a state cannot be made or filled on one rank, all raise.

    Args:
        model: its keys are at the top level of the checkpoint.
        others: states by their keys.
        start: also has the paths of the keys below dicts, whose new keys are added.
        group: the ranks; None for this process alone.
        options: of `dcpcpp.load`.
    """
    names = sorted(others)  # all ranks call them in one order
    keys: list[str] = []  # the model's

    def make() -> dict[str, Any]:
        state = dict(model.state_dict()) if model is not None else {}
        keys.extend(state)
        state.update({name: others[name].state_dict() for name in names})
        return state

    state = made(make)
    load(state, checkpoint_id=start.path, **options)

    def apply() -> None:
        for name in names:
            if isinstance(others[name], DictState):
                _add_new(state, name, start)
            others[name].load_state_dict(state[name])
        if model is not None:
            model.load_state_dict({key: state[key] for key in keys})

    on_all_ranks(group, "load_state_dict", apply)


def made(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The state that `make` returns; if it raises, one that tells its error to all ranks."""
    try:
        return make()
    except Exception as error:
        return {MODEL: FailedState(error)}


def _add_new(state: dict[str, Any], name: str, start: Start) -> None:
    """Add to the dict `state[name]` what the checkpoint has, and the dict had not."""
    known = flatten({name: state[name]}, None).leaves
    new = [path for key, path in start.paths.items() if path[0] == name and key not in known]
    if new:
        found = load_full(start.path, {_in_dicts(path) for path in new})
        _merge(state[name], found[name])


def _in_dicts(path: Path) -> str:
    """The key of the value at `path`, or of the first list on the way, which comes whole."""
    names = []
    for part in path:
        if not isinstance(part, str):
            break
        names.append(part)
    return ".".join(names)


def _merge(into: MutableMapping[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        there = into.get(key)
        if isinstance(value, Mapping) and isinstance(there, MutableMapping):
            _merge(there, value)
        else:
            into[key] = value
