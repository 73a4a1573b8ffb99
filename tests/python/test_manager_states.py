"""What a CheckpointManager does with states: whole on all ranks, or an error on all."""

from __future__ import annotations

import logging
import pathlib
import random
import shutil
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.stateful import Stateful

import dcpcpp
from dcpcpp import CheckpointConfig, CheckpointManager, RandomState, _core
from support.ranks import run_on_ranks
from support.runs import Run, steps_in


def manager_of(folder: str, states: dict[str, Any], **given: Any) -> CheckpointManager:
    options = given.pop("options", {})
    config = CheckpointConfig(enable=True, folder=folder, interval=1, **options)
    return CheckpointManager(config, {"model": nn.Linear(2, 2), **states}, **given)


def test_a_dict_gets_the_keys_that_it_had_not(tmp_path: pathlib.Path) -> None:
    saved = {
        "step": 3,
        "best": {"loss": 0.25, "at": torch.tensor([2, 3])},
        "curves": [torch.ones(2), torch.zeros(3)],
        "note": "warm",
    }
    with manager_of(str(tmp_path), {"train_state": saved}) as manager:
        manager.save(3)
    best: dict[str, Any] = {"loss": 9.0}
    loaded: dict[str, Any] = {"step": 0, "best": best}
    with manager_of(str(tmp_path), {"train_state": loaded}) as manager:
        assert manager.load()
    assert (loaded["step"], loaded["note"], loaded["best"]["loss"]) == (3, "warm", 0.25)
    assert torch.equal(loaded["best"]["at"], torch.tensor([2, 3]))
    assert [curve.tolist() for curve in loaded["curves"]] == [[1, 1], [0, 0, 0]]


class Position(Stateful):
    """Where a rank is in its data; what it says of that differs from time to time."""

    def __init__(self, position: int) -> None:
        self.position = position

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.position, **{f"file-{i}": i for i in range(self.position)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = state_dict["at"]
        assert len(state_dict) == 1 + self.position


def save_and_load_per_rank(folder: str) -> tuple[int, bool]:
    rank = torch.distributed.get_rank()
    random.seed(rank)
    torch.manual_seed(rank)
    own = {"dataloader": Position(3 * rank), "random": RandomState()}
    with manager_of(folder, {}, per_rank_states=own) as manager:
        manager.save(1)
        expected = (random.random(), torch.rand(2).tolist())
    position = Position(99)
    own = {"dataloader": position, "random": RandomState()}
    with manager_of(folder, {}, per_rank_states=own) as manager:
        assert manager.load()
    return position.position, (random.random(), torch.rand(2).tolist()) == expected


def test_each_rank_gets_its_own_state_back(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_on_ranks(2, save_and_load_per_rank, str(tmp_path)) == [(0, True), (3, True)]
    # A run of another number of ranks has to say that it does without.
    own = {"dataloader": Position(7), "random": RandomState()}
    message = r'"dataloader" of .* was saved by 2 ranks, and this run has 1.* exclude_from_loading'
    progress = {"step": 0}
    with (
        manager_of(str(tmp_path), {}, per_rank_states=own) as manager,
        pytest.raises(ValueError, match=message),
    ):
        manager.load()
    options = {"exclude_from_loading": ["dataloader", "random"]}
    with (
        manager_of(str(tmp_path), {}, per_rank_states=own, options=options) as manager,
        caplog.at_level(logging.INFO, logger="dcpcpp"),
    ):
        assert manager.load()
    assert "Not loaded, as exclude_from_loading says: dataloader, random." in caplog.text
    own = {"new": RandomState(), "random": RandomState()}
    with (
        manager_of(str(tmp_path), {}, per_rank_states=own) as manager,
        pytest.raises(ValueError, match=r'"new" of .* is not there, or not as a state of each r'),
    ):
        manager.load()
    with pytest.raises(ValueError, match="train_state cannot be in both states and per_rank"):
        manager_of(str(tmp_path), {"train_state": progress}, per_rank_states={"train_state": {}})


class Fragile(nn.Linear):
    """A model whose state cannot be had, or cannot be set, if `fails` says so."""

    fails = ""

    def state_dict(self, *args: Any, **options: Any) -> Any:
        if self.fails == "state_dict":
            raise OverflowError("too much state")
        return super().state_dict(*args, **options)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        if self.fails == "load_state_dict":
            raise OverflowError("too much state")
        return super().load_state_dict(*args, **options)


def fail_on_one_rank(folder: str) -> list[str]:
    rank = torch.distributed.get_rank()
    told = []
    for mode in ("disabled", "async", "async_with_pinned_mem"):
        model = Fragile(2, 2)
        options = {"async_mode": mode}
        with manager_of(f"{folder}/{mode}", {"model": model}, options=options) as manager:
            for calls in (
                lambda manager=manager: (manager.save(1), manager.wait()),
                lambda manager=manager: manager.load(),
            ):
                model.fails = "state_dict" if rank == 1 else ""
                try:
                    calls()
                except (dcpcpp.CheckpointException, OverflowError) as error:
                    told.append(str(error))
                model.fails = ""
                manager.save(2)
                manager.wait()
            model.fails = "load_state_dict" if rank == 1 else ""
            try:
                manager.load()
            except (dcpcpp.CheckpointException, OverflowError) as error:
                told.append(str(error))
    return told


def test_a_state_that_fails_on_one_rank_fails_on_all(tmp_path: pathlib.Path) -> None:
    for told in run_on_ranks(2, fail_on_one_rank, str(tmp_path), timeout=60):
        assert len(told) == 9, told
        assert all("too much state" in text for text in told)


def test_steps_that_are_links_to_nowhere_are_told(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    Run(tmp_path).train(2)
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / "step-4").symlink_to(tmp_path / "gone")
    run = Run(tmp_path, seed=1)
    assert run.manager.load()
    assert f"skipped {checkpoint / 'step-4'}: it is a link to {tmp_path / 'gone'}" in caplog.text
    shutil.rmtree(checkpoint / "step-2")
    with pytest.raises(RuntimeError, match=r"are links to what is not there, such as .*step-4"):
        run.manager.load()
    assert steps_in(tmp_path) == ["step-4"]


def test_the_memory_of_copies_goes_with_the_manager(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path, async_mode="async")
    assert run.manager.save(2)
    run.manager.wait()
    assert _core.staging_memory_nbytes() > 0
    run.manager.close()
    assert _core.staging_memory_nbytes() == 0


class Container(torch.optim.SGD, Stateful):
    """Names its states itself, as TorchTitan's OptimizersContainer does."""

    def state_dict(self) -> dict[str, Any]:
        return {"rate.weight": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.param_groups[0]["lr"] = state_dict["rate.weight"]


class Whole(Stateful):
    """A model that is no module, as TorchTitan's ModelWrapper."""

    def __init__(self) -> None:
        self.values = {"weight": torch.zeros(2)}

    def state_dict(self) -> dict[str, Any]:
        return self.values

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = state_dict


def test_states_of_other_trainers_name_themselves(tmp_path: pathlib.Path) -> None:
    model = Whole()
    states = {"model": model, "optimizer": Container([torch.zeros(1)], lr=0.5)}
    with manager_of(str(tmp_path), states) as manager:
        manager.save(1)
        model.values["weight"].fill_(3)
        assert manager.load()
    assert model.values["weight"].tolist() == [0, 0]
    keys = dcpcpp.open(tmp_path / "step-1").keys()
    assert sorted(keys) == ["optimizer.rate.weight", "weight"]
