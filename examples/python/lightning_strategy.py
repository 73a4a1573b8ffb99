"""Lightning with dcpcpp: a strategy whose checkpoints all ranks write together.

    python lightning_strategy.py --folder out --epochs 4
    python lightning_strategy.py --folder out --epochs 8 --resume out/epoch=3-step=32.ckpt

Copy `CheckpointStrategy` into your own script. `ModelCheckpoint`, `ckpt_path=` and
`Trainer.save_checkpoint` go on as before; a checkpoint is a directory that `dcpcpp ls`,
`verify` and stock torch.distributed.checkpoint read.
"""

from __future__ import annotations

import argparse
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dcpcpp

OPTIMIZERS = "optimizer_states"


class CheckpointStrategy(DDPStrategy):
    """DistributedDataParallel, its checkpoints saved and loaded by dcpcpp."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        tensors = {key: checkpoint[key] for key in ("state_dict", OPTIMIZERS) if key in checkpoint}
        rest = {key: value for key, value in checkpoint.items() if key not in tensors}
        # A tuple is stored as one object, with the dicts in it that are empty.
        dcpcpp.save({**tensors, "lightning": (rest,)}, checkpoint_id=filepath)

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = dcpcpp.load_full(checkpoint_path, allow_pickle=weights_only is False)
        (rest,) = checkpoint.pop("lightning")
        for optimizer in checkpoint.get(OPTIMIZERS, []):
            # The keys of a checkpoint are text; torch's optimizers number their parameters.
            states = optimizer.get("state", {})
            optimizer["state"] = {int(number): state for number, state in states.items()}
        return {**checkpoint, **rest}


class Regression(lightning.LightningModule):
    """A small model."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 1))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self.layers(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--resume")
    arguments = parser.parse_args()
    lightning.seed_everything(0)
    inputs = torch.linspace(-1, 1, 64 * 8).view(64, 8)
    data = DataLoader(TensorDataset(inputs, inputs.square().sum(1, keepdim=True)), batch_size=4)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=CheckpointStrategy(),
        max_epochs=arguments.epochs,
        callbacks=[ModelCheckpoint(arguments.folder, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Regression(), data, ckpt_path=arguments.resume)


if __name__ == "__main__":
    main()
