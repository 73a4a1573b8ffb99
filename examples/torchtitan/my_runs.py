"""Recipes of TorchTitan with dcpcpp's checkpoint manager.

With this folder on PYTHONPATH:

    torchrun --nproc_per_node=8 -m torchtitan.train --module my_runs --config llama3_8b \
        --checkpoint.enable --checkpoint.async_mode async
"""

from torchtitan.models.llama3 import config_registry as stock
from torchtitan.trainer import Trainer

from dcpcpp.titan import with_dcpcpp


def llama3_8b() -> Trainer.Config:
    return with_dcpcpp(stock.llama3_8b(), save_on_sigterm=True)


def llama3_debugmodel() -> Trainer.Config:
    return with_dcpcpp(stock.llama3_debugmodel())
