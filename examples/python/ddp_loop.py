"""A training loop with DistributedDataParallel, its checkpoints kept by a CheckpointManager.

    torchrun --nproc_per_node=2 ddp_loop.py --folder out --steps 20
    torchrun --nproc_per_node=2 ddp_loop.py --folder out --steps 40   # goes on from step 20

The manager's options are on the command line, too: --checkpoint.interval 10, for example.
"""

from __future__ import annotations

import argparse
import pathlib

import torch
import torch.distributed as dist
from tiny_lm import TinyLM, batch_at, load_text
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import dcpcpp

BATCH, LENGTH = 8, 64


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    dcpcpp.CheckpointConfig.add_arguments(parser)
    arguments = parser.parse_args()
    config = dcpcpp.CheckpointConfig(
        enable=True, interval=4, keep_latest_k=3, last_save_model_only=False, async_mode="async"
    ).with_arguments(arguments)

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    text = load_text()
    torch.manual_seed(0)
    model = DistributedDataParallel(TinyLM(width=64, layers=2, heads=4, length=LENGTH))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000)
    progress = {"step": 0}
    states = {
        "model": model,
        "optimizer": optimizer,
        "lr_scheduler": schedule,
        "train_state": progress,
    }
    with dcpcpp.CheckpointManager(config, states, base_folder=arguments.folder) as manager:
        manager.load()
        for step in range(progress["step"] + 1, arguments.steps + 1):
            tokens = batch_at(text, step, BATCH, LENGTH).chunk(world)[rank]
            logits = model(tokens[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress["step"] = step
            manager.save(step, last_step=step == arguments.steps)
            if rank == 0:
                print(f"step {step}: loss {loss.item():.4f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
