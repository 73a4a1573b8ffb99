"""A training loop with FSDP2, its checkpoints written beside the training by a process.

    torchrun --nproc_per_node=2 fsdp2_loop.py --folder out --steps 20
    torchrun --nproc_per_node=4 fsdp2_loop.py --folder out --steps 40   # goes on from step 20

A run may go on on any number of ranks. The manager's options are on the command line, too:
--checkpoint.async_mode disabled, for example.
"""

from __future__ import annotations

import argparse
import pathlib

import torch
import torch.distributed as dist
from tiny_lm import TinyLM, batch_at, load_text
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

import dcpcpp

BATCH, LENGTH = 8, 64


def build() -> torch.nn.Module:
    torch.manual_seed(0)
    model = TinyLM(width=64, layers=2, heads=4, length=LENGTH)
    for block in model.blocks:
        fully_shard(block)
    fully_shard(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    dcpcpp.CheckpointConfig.add_arguments(parser)
    arguments = parser.parse_args()
    config = dcpcpp.CheckpointConfig(
        enable=True,
        interval=4,
        keep_latest_k=3,
        last_save_model_only=False,
        async_mode="async_with_pinned_mem",
    ).with_arguments(arguments)

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    text = load_text()
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    progress = {"step": 0}
    states = {"model": model, "optimizer": optimizer, "train_state": progress}
    with dcpcpp.CheckpointManager(config, states, base_folder=arguments.folder) as manager:
        manager.load()
        for step in range(progress["step"] + 1, arguments.steps + 1):
            tokens = batch_at(text, step, BATCH, LENGTH).chunk(world)[rank]
            logits = model(tokens[:, :-1])
            loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            manager.maybe_wait_for_staging()  # what is being copied must not change
            optimizer.step()
            progress["step"] = step
            manager.save(step, last_step=step == arguments.steps)
            if rank == 0:
                print(f"step {step}: loss {loss.item():.4f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
