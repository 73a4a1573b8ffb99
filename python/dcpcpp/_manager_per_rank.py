"""States that each rank has for itself, such as its place in the data."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch.distributed.checkpoint.stateful import Stateful

__all__ = ["PerRankState", "RandomState", "require_same_ranks"]


class RandomState(Stateful):
    """The random number generators of this process, as a state of a `CheckpointManager`.

    Torch's on the CPU and on the current CUDA device, Python's, and numpy's global one if
    numpy is imported. Each rank has its own: it belongs into `per_rank_states`.

    Example:
        >>> manager = dcpcpp.CheckpointManager(
        ...     config, {"model": model}, per_rank_states={"random": dcpcpp.RandomState()}
        ... )
    """

    def state_dict(self) -> dict[str, Any]:
        """The generators' states, by library."""
        state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        if "numpy" in sys.modules:
            state["numpy"] = sys.modules["numpy"].random.get_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Have them go on from there, as far as this process has them."""
        random.setstate(state_dict["python"])
        torch.set_rng_state(state_dict["torch"])
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state(state_dict["cuda"])
        if "numpy" in state_dict and "numpy" in sys.modules:
            sys.modules["numpy"].random.set_state(state_dict["numpy"])


class PerRankState(Stateful):
    """One rank's state under a key of its own, `rank_<rank>_of_<ranks>`.

    It is stored as one object, since what it holds may differ from rank to rank, and from
    one time to another.
    """

    def __init__(self, state: Stateful, rank: int, world_size: int) -> None:
        self._state = state
        self._key = f"rank_{rank}_of_{world_size}"

    def state_dict(self) -> dict[str, Any]:
        """The state, in a tuple: those are not taken apart."""
        return {self._key: (self._state.state_dict(),)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what this rank saved."""
        (state,) = state_dict[self._key]
        self._state.load_state_dict(state)


def require_same_ranks(
    path: str, names: Iterable[str], keys: Collection[str], world_size: int
) -> None:
    """Raise unless a checkpoint has the per-rank states of as many ranks as there are.

    Args:
        path: of the checkpoint.
        names: of the states.
        keys: flat keys of the checkpoint, at least those below `names`.
        world_size: ranks of this run.

    Raises:
        ValueError: it has others, or none; the message says how to go on.
    """
    for name in names:
        pattern = re.compile(rf"{re.escape(name)}\.rank_\d+_of_(\d+)")
        matches = [match for key in keys if (match := pattern.fullmatch(key))]
        sizes = {int(match[1]) for match in matches}
        if sizes == {world_size} and len(matches) == world_size:
            continue
        saved = (
            f"was saved by {max(sizes)} ranks, and this run has {world_size}"
            if sizes
            else "is not there, or not as a state of each rank"
        )
        raise ValueError(
            f'the state "{name}" of {path} {saved}. It cannot be divided anew: '
            + (f"go on with {max(sizes)} ranks, or " if sizes else "")
            + f'put "{name}" into exclude_from_loading, and it begins anew'
        )
