"""Objects are decoded without running code also where torch's protocol is at work."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest
import torch.distributed.checkpoint as stock

import dcpcpp


@dataclasses.dataclass
class Config:
    """A class of the trainer's own."""

    rate: float


class PlannerLikeTorchs(stock.DefaultLoadPlanner):
    pass


class TrustingPlanner(stock.DefaultLoadPlanner):
    def load_bytes(self, read_item: Any, value: Any) -> None:
        self.original_state_dict[read_item.dest_index.fqn] = "decoded by the planner"


@pytest.mark.parametrize("reader", [dcpcpp.FileSystemReader, stock.FileSystemReader])
def test_a_planner_of_the_users_own_does_not_trust_the_file(tmp_path: Path, reader: Any) -> None:
    stock.save({"o": Config(0.5), "t": datetime.datetime(2026, 1, 1)}, checkpoint_id=tmp_path)

    def load(planner: Any, **arguments: Any) -> Any:
        state: dict[str, Any] = {"o": None}
        dcpcpp.load(state, storage_reader=reader(tmp_path), planner=planner, **arguments)
        return state["o"]

    for arguments in ({}, {"allow_pickle": False}):
        with pytest.raises(dcpcpp.CheckpointException, match="could run code"):
            load(PlannerLikeTorchs(), **arguments)
    assert load(PlannerLikeTorchs(), allow_pickle=True) == Config(0.5)
    with pytest.raises(dcpcpp.CheckpointException, match="could run code"):
        load(PlannerLikeTorchs(flatten_state_dict=False))
    assert load(TrustingPlanner()) == "decoded by the planner"
    planner = PlannerLikeTorchs()
    state: dict[str, Any] = {"t": None}
    dcpcpp.load(state, storage_reader=reader(tmp_path), planner=planner)
    assert state == {"t": datetime.datetime(2026, 1, 1)}
    assert "load_bytes" not in vars(planner)


def test_our_reader_in_stock_load_does_not_trust_the_file(tmp_path: Path) -> None:
    stock.save({"o": Config(0.5)}, checkpoint_id=tmp_path)
    reader = dcpcpp.FileSystemReader(tmp_path)
    with pytest.raises(stock.api.CheckpointException, match="could run code"):
        stock.load({"o": None}, storage_reader=reader)
    state: dict[str, Any] = {"o": None}
    with dcpcpp.options(allow_pickle=True):
        stock.load(state, storage_reader=reader)
    assert state["o"] == Config(0.5)
