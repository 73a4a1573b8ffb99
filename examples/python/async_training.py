"""Checkpoints every few steps without waiting for them, and going on after a stop.

    torchrun --nproc_per_node=2 async_training.py --folder out --steps 20
    torchrun --nproc_per_node=2 async_training.py --folder out --steps 40   # from step 20 on

The pattern: a stager that copies in the background, a fence before the optimizer changes
what is copied, and a flush at the end.
"""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys
import warnings

import torch
import torch.distributed as dist
from tiny_lm import load_text
from torch.distributed.checkpoint.staging import StagingOptions
from train_fsdp import TrainState, build, train_step

import dcpcpp

SAVE_EVERY = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()

    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    # What was started is finished when the scheduler wants the machine back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if dcpcpp.flush(30) else 1))
    text = load_text()
    model, optimizer = build()
    state = {"train": TrainState(model, optimizer)}

    first = 1
    newest = dcpcpp.latest(arguments.folder)
    if newest is not None:
        dcpcpp.load(state, checkpoint_id=newest)
        first = int(newest.name.removeprefix("step-")) + 1

    stager = dcpcpp.DefaultStager(StagingOptions(use_async_staging=True))
    dcpcpp.fence(optimizer)  # its step() waits while tensors are being copied
    dcpcpp.prewarm(state, stager)  # or the first save pays for the memory
    for step in range(first, arguments.steps + 1):
        loss = train_step(model, optimizer, text, step)
        if step % SAVE_EVERY == 0:
            # Returns at once. An error of an earlier save that nobody looked at is raised here.
            dcpcpp.async_save(
                state, checkpoint_id=arguments.folder / f"step-{step}", async_stager=stager
            )
    stager.close()  # waits for the last save, and raises its error
    if dist.get_rank() == 0:
        print(f"steps {first} to {arguments.steps}, loss {loss:.4f}")
        print(dcpcpp.stall_report())
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
