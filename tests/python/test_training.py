"""A training run that stops and goes on, on as many ranks or on others."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn import functional

import dcpcpp
from support.ranks import run_on_ranks
from support.states import fingerprints

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"
LENGTH, BATCH = 16, 8
SAVE_AT, STEPS = 3, 6


class TrainState:
    """Model, optimizer, schedule and step under their own names, whatever the sharding."""

    def __init__(self) -> None:
        from torch.distributed.fsdp import fully_shard

        sys.path.insert(0, str(EXAMPLES))
        from tiny_lm import TinyLM

        torch.manual_seed(0)
        self.model = TinyLM(width=24, layers=2, heads=2, length=LENGTH)
        for block in self.model.blocks:
            fully_shard(block)
        fully_shard(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)
        self.step = 0

    def state_dict(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        schedule = self.schedule.state_dict()
        return {"model": model, "optim": optimizer, "schedule": schedule, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optim"],
        )
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]

    def train_step(self) -> float:
        """One step on this rank's part of the global batch; the loss of all of it."""
        from tiny_lm import batch_at, load_text

        self.step += 1
        tokens = batch_at(load_text(50_000), self.step, BATCH, LENGTH)
        mine = tokens.chunk(dist.get_world_size())[dist.get_rank()]
        self.optimizer.zero_grad()
        logits = self.model(mine[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), mine[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        total = loss.detach().clone()
        dist.all_reduce(total)
        return float(total) / dist.get_world_size()


Run = tuple[dict[str, str], list[float]]


def train_and_save(folder: str) -> Run:
    """What was saved, and the losses after it."""
    state = TrainState()
    first = [state.train_step() for _ in range(SAVE_AT)]
    dcpcpp.save({"train": state}, checkpoint_id=f"{folder}/ours")
    stock.save({"train": state}, checkpoint_id=f"{folder}/stock")
    saved = fingerprints(state.state_dict())
    rest = [state.train_step() for _ in range(SAVE_AT, STEPS)]
    assert rest[-1] < first[0], "it learns"
    return saved, rest


def resume(path: str, library: str) -> Run:
    state = TrainState()
    {"ours": dcpcpp, "stock": stock}[library].load({"train": state}, checkpoint_id=path)
    loaded = fingerprints(state.state_dict())
    return loaded, [state.train_step() for _ in range(SAVE_AT, STEPS)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[pathlib.Path, Run]:
    folder = tmp_path_factory.mktemp("training")
    return folder, run_on_ranks(2, train_and_save, str(folder))[0]


@pytest.mark.parametrize(
    ("saver", "loader"), [("ours", "ours"), ("ours", "stock"), ("stock", "ours")]
)
def test_a_run_resumed_on_as_many_ranks_is_the_same_run(trained, saver: str, loader: str) -> None:
    folder, (saved, losses) = trained
    for loaded, again in run_on_ranks(2, resume, str(folder / saver), loader):
        assert loaded == saved
        assert again == losses, "bit for bit"


@pytest.mark.parametrize("world", [1, 4])
def test_a_run_resumed_on_other_ranks_has_the_same_state(trained, world: int) -> None:
    folder, (saved, losses) = trained
    for loaded, again in run_on_ranks(world, resume, str(folder / "ours"), "ours"):
        assert loaded == saved
        assert again == pytest.approx(losses, rel=1e-5), "sums are taken in another order"
