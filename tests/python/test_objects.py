"""Leaves that are not tensors, and what trainers keep their states in."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import math
import pathlib
import pickle
import random
import types
import uuid
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

import dcpcpp
from support.states import blank, ramp, require_equal


def harmless_objects() -> dict[str, Any]:
    """Values that load without `allow_pickle`."""
    return {
        "none": None,
        "true": True,
        "int": 42,
        "negative": -7,
        "huge": 1 << 200,
        "float": 0.1,
        "inf": -math.inf,
        "str": "grüß dich ☃ 🚀",
        "empty_str": "",
        "bytes": bytes(range(256)),
        "bytearray": bytearray(b"abc"),
        "tuple": (1, "a", (2.5, None)),
        "list": [1, 2, [3, "x"]],
        "empty_list": [],
        "ordered": (collections.OrderedDict([("z", 1), ("a", 2)]),),
        "counter": (collections.Counter("aab"),),
        "set": {1, 2},
        "frozenset": frozenset("ab"),
        "slice": slice(1, None),
        "namespace": argparse.Namespace(lr=0.1, data=pathlib.PosixPath("/data")),
        "simple_namespace": types.SimpleNamespace(a=1),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=5),
        "complex": 1 + 2j,
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "datetime": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
        "timedelta": datetime.timedelta(days=1, microseconds=5),
        "path": pathlib.PurePosixPath("/data/corpus.bin"),
        "numpy_scalar": np.float64(2.5),
        "numpy_int": np.int64(3),
        "python_rng": random.Random(1).getstate(),
        "tensor_in_tuple": (torch.arange(3), 1),
    }


def test_plain_objects_travel_both_ways(tmp_path: pathlib.Path) -> None:
    state = harmless_objects()
    dcpcpp.save(state, checkpoint_id=tmp_path / "ours")
    stock.save(state, checkpoint_id=tmp_path / "theirs")
    for path, loader in (("ours", stock.load), ("ours", dcpcpp.load), ("theirs", dcpcpp.load)):
        loaded = dict.fromkeys(state)
        loader(loaded, checkpoint_id=tmp_path / path)
        require_equal(loaded, state)


def test_numpy_arrays_travel_both_ways(tmp_path: pathlib.Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    rng = np.random.default_rng(3).bit_generator.state
    state = {"array": array, "rng": rng}
    dcpcpp.save(state, checkpoint_id=tmp_path / "ours")
    stock.save(state, checkpoint_id=tmp_path / "theirs")
    for path, loader in (("ours", stock.load), ("ours", dcpcpp.load), ("theirs", dcpcpp.load)):
        loaded = {"array": None, "rng": blank(rng)}
        loader(loaded, checkpoint_id=tmp_path / path)
        np.testing.assert_array_equal(loaded["array"], array)
        require_equal(loaded["rng"], rng)


class Color(enum.Enum):
    RED = 1


class Tracker:
    """A class of the trainer's own, kept as a leaf."""

    def __init__(self, seen: int) -> None:
        self.seen = seen


def test_a_class_of_ones_own_needs_allow_pickle(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"tracker": Tracker(5), "color": Color.RED, "w": ramp(2)}, checkpoint_id=tmp_path)
    by_stock = {"tracker": None, "color": None, "w": torch.zeros(2)}
    stock.load(by_stock, checkpoint_id=tmp_path)
    assert by_stock["tracker"].seen == 5
    assert by_stock["color"] is Color.RED

    with pytest.raises(dcpcpp.CheckpointException, match=r"tracker.*allow_pickle=True") as caught:
        dcpcpp.load({"tracker": None}, checkpoint_id=tmp_path)
    assert isinstance(caught.value.failures[0][0], pickle.UnpicklingError)
    loaded = {"tracker": None, "color": None, "w": torch.zeros(2)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path, allow_pickle=True)
    assert loaded["tracker"].seen == 5
    assert loaded["color"] is Color.RED

    with torch.serialization.safe_globals([Tracker]):
        allowed = {"tracker": None}
        dcpcpp.load(allowed, checkpoint_id=tmp_path)
    assert allowed["tracker"].seen == 5


def test_an_object_that_torch_cannot_read_safely_says_why(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"text": collections.UserString("a")}, checkpoint_id=tmp_path)
    pattern = r"'text' is not loaded.*collections\.UserString.*If you trust.*allow_pickle=True"
    with pytest.raises(dcpcpp.CheckpointException, match=pattern):
        dcpcpp.load({"text": None}, checkpoint_id=tmp_path)
    loaded = {"text": None}
    dcpcpp.load(loaded, checkpoint_id=tmp_path, allow_pickle=True)
    assert loaded["text"] == collections.UserString("a")


def test_an_object_that_pickle_refuses_fails_the_save(tmp_path: pathlib.Path) -> None:
    with pytest.raises(dcpcpp.CheckpointException, match="lambda"):
        dcpcpp.save({"f": lambda: 1}, checkpoint_id=tmp_path)
    assert not list(tmp_path.glob("*"))


def test_an_object_replaces_a_tensor_of_the_template_as_in_torch(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"step": 7}, checkpoint_id=tmp_path)
    for loader in (stock.load, dcpcpp.load):
        state = {"step": torch.zeros(1)}
        loader(state, checkpoint_id=tmp_path)
        assert state["step"] == 7


def training() -> tuple[torch.nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.8, 0.99))
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        ],
        milestones=[2],
    )
    return model, optimizer, scheduler


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    optimizer.zero_grad()
    model(ramp(4, 3)).square().sum().backward()
    optimizer.step()
    scheduler.step()


def test_models_optimizers_and_schedulers_resume_where_they_were(tmp_path: pathlib.Path) -> None:
    """Saved and loaded as Stateful objects, with torch's raw optimizer state."""
    model, optimizer, scheduler = training()
    for _ in range(3):
        step(model, optimizer, scheduler)
    state = {"model": model, "optim": optimizer, "sched": scheduler}
    dcpcpp.save(state, checkpoint_id=tmp_path / "ours")
    stock.save(state, checkpoint_id=tmp_path / "theirs")
    saved = {
        key: torch.utils._pytree.tree_map(
            lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf,
            value.state_dict(),
        )
        for key, value in state.items()
    }
    for path, loader in (("ours", dcpcpp.load), ("theirs", dcpcpp.load), ("ours", stock.load)):
        torch.manual_seed(2)
        resumed = training()
        step(*resumed)  # so that the optimizer has a state to fill
        target = dict(zip(("model", "optim", "sched"), resumed, strict=True))
        loader(target, checkpoint_id=tmp_path / path)
        for key, value in target.items():
            require_equal(value.state_dict(), saved[key], f"{path}.{key}")


def test_a_trainers_other_states_need_no_pickle(tmp_path: pathlib.Path) -> None:
    """As TorchTitan and torchdata make them, saved by stock torch."""
    state = {
        "train_state": {
            "step": torch.tensor(7, dtype=torch.int32),
            "ntokens_seen": torch.tensor(2**40, dtype=torch.int64),
            "global_avg_losses": [2.5, 2.25],
        },
        "dataloader": {
            "world_size": 2,
            "dp_rank_0": pickle.dumps({"_sample_idx": 3, "_token_buffer": [1, 2, 3]}),
            "_snapshot": {
                "_snapshot_step": 4,
                "_main_snapshot": {"_sampler_iter_state": None, "_num_workers": 2},
                "_worker_snapshots": {"worker_0": {"fetcher_state": None, "worker_id": 0}},
            },
        },
        "rng": {"python": random.Random(3).getstate()},
    }
    stock.save(state, checkpoint_id=tmp_path)
    loaded = dcpcpp.load_full(tmp_path)
    require_equal(loaded, state)
    loaded["train_state"]["step"].zero_()
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state)


def test_state_dicts_by_name_resume_in_a_fresh_optimizer(tmp_path: pathlib.Path) -> None:
    """get_optimizer_state_dict makes the state that a new optimizer lacks."""
    model, optimizer, scheduler = training()
    for _ in range(2):
        step(model, optimizer, scheduler)
    saved = {
        "model": get_model_state_dict(model),
        "optim": get_optimizer_state_dict(model, optimizer),
    }
    dcpcpp.save(saved, checkpoint_id=tmp_path / "ours")
    stock.save(saved, checkpoint_id=tmp_path / "theirs")
    for path, loader in (("ours", dcpcpp.load), ("theirs", dcpcpp.load), ("ours", stock.load)):
        again, fresh, _ = training()
        target = {
            "model": get_model_state_dict(again),
            "optim": get_optimizer_state_dict(again, fresh),
        }
        loader(target, checkpoint_id=tmp_path / path)
        set_model_state_dict(again, target["model"])
        set_optimizer_state_dict(again, fresh, target["optim"])
        require_equal(get_optimizer_state_dict(again, fresh), saved["optim"])
        require_equal(get_model_state_dict(again), saved["model"])


def test_what_a_fresh_optimizer_lacks_is_reported(tmp_path: pathlib.Path) -> None:
    """Its state dict is empty, so nothing of the stored state is loaded into it."""
    model, optimizer, scheduler = training()
    step(model, optimizer, scheduler)
    dcpcpp.save({"optim": optimizer}, checkpoint_id=tmp_path)
    _, fresh, _ = training()
    report = dcpcpp.LoadReport()
    dcpcpp.load({"optim": fresh}, checkpoint_id=tmp_path, report=report)
    assert "optim.state.0.exp_avg" in report.unexpected
    assert report.missing == []
