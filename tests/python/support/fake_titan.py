"""Stands for the seam of torchtitan 0.3.0, components/checkpointer/base.py.

The trainer itself is in tests/torchtitan.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.distributed.checkpoint.stateful import Stateful


@runtime_checkable
class CheckpointStorage(Protocol):
    """What the managers of releases after 0.3.0 ask about paths."""

    def isdir(self, path: str) -> bool: ...

    def isfile(self, path: str) -> bool: ...

    def listdir(self, path: str) -> list[str]: ...

    def remove(self, path: str) -> None: ...


class BaseCheckpointManager:
    """Of its methods those that the trainer calls."""

    enable: bool

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config:
        enable: bool = False
        folder: str = "checkpoint"
        interval: int = 500
        keep_latest_k: int = 10
        last_save_model_only: bool = True
        exclude_from_loading: list[str] = dataclasses.field(default_factory=list)

        def __post_init__(self) -> None:
            if self.interval < 1:
                raise ValueError("Checkpoint interval needs to be at least 1 step.")

    def load(self, step: int = -1) -> bool:
        return self.enable and self._load(step)

    def save(self, curr_step: int, last_step: bool = False) -> bool:
        return self.enable and self._save(curr_step, last_step)

    def maybe_wait_for_staging(self) -> None:
        if self.enable:
            self._maybe_wait_for_staging()

    def maybe_wait_for_saving(self) -> None:
        if self.enable and self.save_future is not None:
            self._wait_for_saving()

    def close(self) -> None:
        if getattr(self, "enable", False):
            self._close()


class ModelWrapper(Stateful):
    def __init__(self, model: list[nn.Module]) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        return {key: value for part in self.model for key, value in part.state_dict().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part in self.model:
            part.load_state_dict(state_dict, strict=False)


def modules() -> dict[str, types.ModuleType]:
    """What `import torchtitan.components.checkpointer` finds."""
    found = {}
    for name in ("torchtitan", "torchtitan.components", "torchtitan.components.checkpointer"):
        found[name] = types.ModuleType(name)
    vars(found["torchtitan.components.checkpointer"]).update(
        BaseCheckpointManager=BaseCheckpointManager,
        ModelWrapper=ModelWrapper,
        DATALOADER="dataloader",
        LR_SCHEDULER="lr_scheduler",
        MODEL="model",
        OPTIMIZER="optimizer",
    )
    return found
