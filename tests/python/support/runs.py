"""A small training run with a CheckpointManager."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dcpcpp import CheckpointConfig, CheckpointManager


class Adapter:
    """Hugging Face's names of a model's tensors: with a prefix."""

    fqn_to_index_mapping = None

    def to_hf(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return {f"model.{key}": value for key, value in state_dict.items()}

    def from_hf(self, hf_state_dict: dict[str, Any]) -> dict[str, Any]:
        return {key.removeprefix("model."): value for key, value in hf_state_dict.items()}


class Run:
    """A training run of a small model.

    Args:
        folder: the checkpoints are in its `checkpoint`.
        seed: of the model.
        given: arguments of the manager.
        options: of its config.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        seed: int = 0,
        given: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3)
        self.progress: dict[str, Any] = {"step": 0, "tokens": torch.zeros(1)}
        config = CheckpointConfig(**{"enable": True, "interval": 2, **options})
        self.manager = CheckpointManager(
            config,
            {
                "model": self.model,
                "optimizer": self.optimizer,
                "lr_scheduler": self.schedule,
                "train_state": self.progress,
            },
            sd_adapter=Adapter(),
            base_folder=folder,
            **(given or {}),
        )

    def train(self, until: int, last: int = 0) -> list[float]:
        """Train, and save; the losses."""
        losses = []
        with self.manager as manager:
            while self.progress["step"] < until:
                step = self.progress["step"] + 1
                data = torch.full((3, 4), float(step))
                loss = self.model(data).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                manager.maybe_wait_for_staging()
                self.optimizer.step()
                self.schedule.step()
                self.progress["step"] = step
                self.progress["tokens"] += 3
                losses.append(loss.item())
                manager.save(step, last_step=step == last)
        return losses


def steps_in(folder: pathlib.Path) -> list[str]:
    """The names in the run's folder."""
    return sorted(path.name for path in (folder / "checkpoint").iterdir())
