"""Rules of TorchTitan's options that a run meets when it starts and when it ends."""

from __future__ import annotations

import logging
import pathlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import dcpcpp
from dcpcpp import CheckpointConfig, CheckpointManager, _manager_retention
from dcpcpp._manager_states import ModelState
from support.runs import Run


def test_a_run_without_a_checkpoint_says_so(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dcpcpp"):
        assert not Run(tmp_path).manager.load()
    assert "No checkpoint was provided, this is a fresh start." in caplog.text


@pytest.fixture(scope="module")
def step_2(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("trained")
    Run(folder).train(2)
    return str(folder / "checkpoint" / "step-2")


def test_a_run_starts_from_all_states_of_another_if_it_is_to(
    tmp_path: pathlib.Path, step_2: str
) -> None:
    tuned = Run(tmp_path / "tuned", initial_load_path=step_2)
    assert tuned.manager.load()
    assert (tuned.progress["step"], tuned.schedule.last_epoch) == (0, 0)
    whole = Run(tmp_path / "whole", initial_load_path=step_2, initial_load_model_only=False)
    assert whole.manager.load()
    assert (whole.progress["step"], whole.schedule.last_epoch) == (2, 2)


def test_what_is_excluded_does_not_matter_to_a_load_of_the_model(
    tmp_path: pathlib.Path, step_2: str
) -> None:
    run = Run(tmp_path, initial_load_path=step_2, exclude_from_loading=["nosuch"])
    assert run.manager.load()


def test_a_path_comes_before_the_models_assets_and_quantized_weights_are_floats(
    tmp_path: pathlib.Path,
) -> None:
    expected = Run(tmp_path / "other", seed=1).model.state_dict()
    quantized = torch.arange(32.0).view(8, 4).to(torch.float8_e4m3fn)
    tensors = {f"model.{key}": value for key, value in expected.items()}
    tensors |= {"model.0.weight": quantized, "model.0.weight_scale_inv": torch.tensor([[0.5]])}
    base = tmp_path / "base"
    base.mkdir()
    save_file(tensors, base / "model.safetensors")
    run = Run(
        tmp_path,
        initial_load_path=str(base),
        initial_load_in_hf=True,
        initial_load_in_hf_quantized=True,
        hf_assets_path="/nosuch",
    )
    assert run.manager.load()
    expected["0.weight"] = quantized.float() * 0.5
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_last_save_of_all_states_is_not_cast(tmp_path: pathlib.Path) -> None:
    options: dict[str, Any] = {"last_save_model_only": False, "export_dtype": "bfloat16"}
    Run(tmp_path, **options).train(3, last=3)
    checkpoint = dcpcpp.open(tmp_path / "checkpoint" / "step-3")
    assert checkpoint.dtype("0.weight") == torch.float32
    resumed = Run(tmp_path, seed=1, **options)
    assert resumed.manager.load()
    assert resumed.progress["step"] == 3


def test_an_export_casts_floating_point_tensors_alone(tmp_path: pathlib.Path) -> None:
    config = CheckpointConfig(enable=True, folder=str(tmp_path), export_dtype="bfloat16")
    with CheckpointManager(config, {"model": nn.BatchNorm1d(3)}) as manager:
        manager.save(1, last_step=True)
    checkpoint = dcpcpp.open(tmp_path / "step-1")
    assert {key: checkpoint.dtype(key) for key in checkpoint} == {
        "weight": torch.bfloat16,
        "bias": torch.bfloat16,
        "running_mean": torch.bfloat16,
        "running_var": torch.bfloat16,
        "num_batches_tracked": torch.int64,
    }


def test_parts_of_a_model_are_one_state_and_wrappers_leave_no_trace() -> None:
    first = nn.ModuleDict({"embed": nn.Linear(2, 3), "0": checkpoint_wrapper(nn.Linear(3, 3))})
    last = nn.ModuleDict({"1": checkpoint_wrapper(nn.Linear(3, 3)), "head": nn.Linear(3, 2)})
    state = ModelState([first, last])
    found = state.state_dict()
    assert set(found) == {
        f"{n}.{p}" for n in ("embed", "0", "1", "head") for p in ("weight", "bias")
    }
    state.load_state_dict({key: torch.full_like(value, 3.0) for key, value in found.items()})
    for part in (first, last):
        assert all((parameter == 3.0).all() for parameter in part.parameters())


def test_a_step_that_cannot_be_removed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("the mount is gone")

    kept = SimpleNamespace(path="/run/step-2", reason="it is busy")
    report = SimpleNamespace(not_removed=[kept], removed=[])
    for core in (
        SimpleNamespace(apply_retention=fail),
        SimpleNamespace(apply_retention=lambda: report),
    ):
        _manager_retention.remove_old_steps(core)  # type: ignore[arg-type]
    assert caplog.messages == [
        "old checkpoints could not be looked for: the mount is gone",
        "/run/step-2 could not be removed: it is busy",
    ]
