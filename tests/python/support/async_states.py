"""The state of the tests of async saves in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.staging import StagingOptions

NUMEL = 1_000_000
IN_BACKGROUND = StagingOptions(False, False, True, False)


def state_of(value: float) -> dict[str, Any]:
    return {
        "w": torch.full((NUMEL,), value),
        "t": torch.full((30, 50), value).t(),
        "step": int(value),
    }


def value_in(directory: Path) -> float:
    """The one value of a checkpoint of state_of()."""
    state = state_of(0.0)
    stock.load(state, checkpoint_id=directory, no_dist=True)
    values = {*state["w"].unique().tolist(), *state["t"].unique().tolist(), float(state["step"])}
    (value,) = values
    return float(value)
