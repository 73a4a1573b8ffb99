"""Train a small language model with FSDP2 and AdamW; save and resume with dcpcpp.

    torchrun --nproc_per_node=2 train_fsdp.py --folder out --steps 6 --save-at 3
    torchrun --nproc_per_node=4 train_fsdp.py --folder out --steps 6 --resume-from 3

A run may resume on any number of ranks. Rank 0 writes what it saw (losses, a digest of
the state) to a JSON file, by which `demo.py` compares runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import time
import warnings
from typing import Any

import torch
import torch.distributed as dist
from tiny_lm import TinyLM, batch_at, load_text
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional

import dcpcpp

BATCH, LENGTH = 8, 128


class TrainState:
    """Model and optimizer under their own names, whatever the sharding."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optim": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optim"],
        )


def build() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = TinyLM(length=LENGTH)
    for block in model.blocks:
        fully_shard(block)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return model, optimizer


def train_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, text: torch.Tensor, step: int
) -> float:
    """One step on this rank's part of the global batch; the loss of all of it."""
    rank, world = dist.get_rank(), dist.get_world_size()
    tokens = batch_at(text, step, BATCH, LENGTH).chunk(world)[rank]
    optimizer.zero_grad()
    logits = model(tokens[:, :-1])
    loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    total = loss.detach().clone()
    dist.all_reduce(total)
    return float(total) / world


def digest(state: dict[str, Any]) -> str:
    """A hash of every tensor of the whole state, gathered from all ranks."""
    result = hashlib.sha256()

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                visit(f"{prefix}.{key}", value[key])
            return
        result.update(prefix.encode())
        if isinstance(value, DTensor):
            value = value.full_tensor()
        if isinstance(value, torch.Tensor):
            result.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            result.update(repr(value).encode())

    visit("", state)
    return result.hexdigest()


def nbytes_of(state: dict[str, Any]) -> int:
    """Bytes of the whole state's tensors."""
    if isinstance(state, dict):
        return sum(nbytes_of(value) for value in state.values())
    return state.numel() * state.element_size() if isinstance(state, torch.Tensor) else 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save-at", type=int)
    parser.add_argument("--resume-from", type=int)
    parser.add_argument("--record", type=pathlib.Path)
    arguments = parser.parse_args()

    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    text = load_text()
    model, optimizer = build()
    state = TrainState(model, optimizer)
    record: dict[str, Any] = {"losses": {}, "ranks": dist.get_world_size()}
    first = 1

    if arguments.resume_from is not None:
        checkpoint = arguments.folder / f"step-{arguments.resume_from}"
        start = time.perf_counter()
        dcpcpp.load({"train": state}, checkpoint_id=checkpoint)
        record["load_seconds"] = time.perf_counter() - start
        record["digest"] = digest(state.state_dict())
        first = arguments.resume_from + 1

    for step in range(first, arguments.steps + 1):
        record["losses"][step] = train_step(model, optimizer, text, step)
        if step == arguments.save_at:
            start = time.perf_counter()
            dcpcpp.save({"train": state}, checkpoint_id=arguments.folder / f"step-{step}")
            record["save_seconds"] = time.perf_counter() - start
            record["digest"] = digest(state.state_dict())
            record["nbytes"] = nbytes_of(state.state_dict())

    if arguments.record and dist.get_rank() == 0:
        arguments.record.write_text(json.dumps(record))
    # gloo's threads must be done with the tensors of the last step before the
    # interpreter goes: torch ends a process otherwise.
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
