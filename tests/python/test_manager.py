"""CheckpointManager: a run that is broken off goes on as if nothing had been."""

from __future__ import annotations

import logging
import pathlib

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import dcpcpp
from dcpcpp import CheckpointConfig, CheckpointManager
from dcpcpp._manager_states import ModelState
from support.ranks import run_on_ranks
from support.runs import Run, steps_in


@pytest.mark.parametrize("mode", ["disabled", "async", "async_with_pinned_mem"])
def test_a_run_goes_on_as_if_it_had_not_been_broken_off(tmp_path: pathlib.Path, mode: str) -> None:
    whole = Run(tmp_path / "other").train(8)
    begun = Run(tmp_path, async_mode=mode)
    assert begun.manager.load() is False
    begun.train(4)
    resumed = Run(tmp_path, seed=1, async_mode=mode)
    assert resumed.manager.load() is True
    assert (resumed.progress["step"], float(resumed.progress["tokens"])) == (4, 12.0)
    assert resumed.train(8) == whole[4:]
    assert steps_in(tmp_path) == ["step-2", "step-4", "step-6", "step-8"]


def test_a_run_resumes_the_full_step_before_a_last_save_in_safetensors(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"last_save_in_hf": True, "export_dtype": "bfloat16"}
    first = Run(tmp_path, **options)
    first.train(5, last=5)
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        resumed = Run(tmp_path, seed=1, **options)
        assert resumed.manager.load()
    assert resumed.progress["step"] == 4
    assert "step-5 holds the model only" in caplog.text
    # The last save itself starts another run.
    names = sorted(path.name for path in (tmp_path / "checkpoint" / "step-5").glob("[!.]*"))
    assert names == ["model.safetensors"]
    tuned = Run(
        tmp_path / "tuned",
        seed=2,
        initial_load_path=str(tmp_path / "checkpoint" / "step-5"),
        initial_load_in_hf=True,
    )
    assert tuned.manager.load()
    assert tuned.progress["step"] == 0
    for ours, theirs in zip(tuned.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(ours, theirs.bfloat16().float())


def test_a_last_save_of_the_model_only_is_cast_and_told(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dcpcpp"):
        Run(tmp_path, export_dtype="float16").train(1, last=1)
    assert "Saving a model only checkpoint in float16 at last step, step 1." in caplog.text
    assert "Saved step 1 (model only, DCP, float16) in " in caplog.text
    checkpoint = dcpcpp.open(tmp_path / "checkpoint" / "step-1")
    assert sorted(checkpoint.keys()) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    resumed = Run(tmp_path, require_full_resume=True)
    with pytest.raises(RuntimeError, match="require_full_resume is set"):
        resumed.manager.load()
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        assert Run(tmp_path).manager.load()
    assert "the optimizer and the other states are lost" in caplog.text


def test_old_steps_go_but_pinned_ones_also_after_the_last_save(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path, keep_latest_k=2, interval=1)
    run.manager.save(2)
    run.manager.pin(2)
    run.progress["step"] = 2
    run.train(8, last=8)
    assert steps_in(tmp_path) == ["step-2", "step-7", "step-8"]


def test_a_seed_starts_a_run_with_its_model(tmp_path: pathlib.Path) -> None:
    seed = Run(tmp_path, create_seed_checkpoint=True)
    seed.manager.save_seed()
    seed.manager.close()
    run = Run(tmp_path, seed=1, require_full_resume=True)
    assert run.manager.load()
    assert run.progress["step"] == 0
    for ours, theirs in zip(run.model.parameters(), seed.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_states_can_be_left_out_of_a_load(tmp_path: pathlib.Path) -> None:
    Run(tmp_path).train(2)
    run = Run(tmp_path, exclude_from_loading=["train_state"])
    assert run.manager.load()
    assert run.progress["step"] == 0
    assert run.schedule.last_epoch == 2
    unknown = Run(tmp_path, exclude_from_loading=["data_loader"])
    with pytest.raises(ValueError, match=r"dataloader not found in state_dict\."):
        unknown.manager.load()


def test_what_cannot_be_loaded_is_an_error_and_no_fresh_start(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load_step=3 not found because checkpoint.fold"):
        Run(tmp_path, load_step=3).manager.load()
    (tmp_path / "checkpoint" / "step-2").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"--checkpoint.load_step=3 not found at .*step-3"):
        Run(tmp_path, load_step=3).manager.load()
    with pytest.raises(RuntimeError, match=r"none of the 1 steps in .* can be loaded"):
        Run(tmp_path).manager.load()
    with pytest.raises(ValueError, match=r"Checkpoint.initial_load_path is invalid: /nosuch"):
        Run(tmp_path / "new", initial_load_path="/nosuch").manager.load()
    with pytest.raises(AssertionError, match="from_hf=True requires sd_adapter and hf_assets_p"):
        Run(tmp_path / "new", initial_load_in_hf=True).manager.load()
    with pytest.raises(ValueError, match=r"model\.hf_assets_path is being used to load HF wei"):
        Run(tmp_path / "new", initial_load_in_hf=True, hf_assets_path="/nosuch").manager.load()


def test_a_manager_that_is_off_or_only_loads_saves_nothing(tmp_path: pathlib.Path) -> None:
    for options in ({"enable": False}, {"load_only": True}):
        run = Run(tmp_path, **options)
        assert not run.manager.save(2)
        assert not run.manager.save(3, last_step=True)
        assert not run.manager.load()
    assert not (tmp_path / "checkpoint").exists()


def test_a_failed_async_save_is_raised_by_the_next_call(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path, async_mode="async")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "step-2").write_text("no directory")
    assert run.manager.save(2)
    with pytest.raises(dcpcpp.CheckpointException):
        run.manager.wait()
    assert run.manager.save(2)
    with pytest.raises(dcpcpp.CheckpointException):  # and does not cost the next step
        run.manager.save(4, last_step=True)
    run.manager.close()
    assert steps_in(tmp_path) == ["step-2", "step-4"]
    assert "0.weight" in dcpcpp.open(tmp_path / "checkpoint" / "step-4").keys()  # noqa: SIM118


def test_a_run_goes_on_past_its_last_save_in_safetensors(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    Run(tmp_path, last_save_in_hf=True).train(4, last=4)
    longer = Run(tmp_path, seed=1, last_save_in_hf=True)
    assert longer.manager.load()
    assert longer.progress["step"] == 2
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        longer.train(6, last=6)
    assert "step-4.hf from now on" in caplog.text
    assert steps_in(tmp_path) == ["step-2", "step-4", "step-4.hf", "step-6"]
    again = Run(tmp_path, last_save_in_hf=True)
    assert again.manager.load()
    assert again.progress["step"] == 4
    again.train(6, last=6)  # over safetensors of an earlier run


def test_a_closed_manager_says_so(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path)
    run.manager.close()
    for call in (lambda: run.manager.save(2), run.manager.load, lambda: run.manager.pin(2)):
        with pytest.raises(RuntimeError, match="is closed"):
            call()
    run.manager.close()


def test_tensors_of_the_user_are_never_written_to() -> None:
    model = nn.Linear(2, 2)
    state = ModelState(model)
    averages = torch.full((2, 2), 7.0)
    weights = model.weight.data
    before = weights.clone()
    state.state_dict()
    model.weight.data = averages  # as for an evaluation
    assert torch.equal(state.state_dict()["weight"], averages)
    assert torch.equal(weights, before)


def test_what_a_hook_makes_is_refreshed_in_place() -> None:
    model = nn.Linear(2, 2)
    model.register_state_dict_post_hook(
        lambda _module, found, _prefix, _local: found.update(twice=found["weight"] * 2)
    )
    state = ModelState(model)
    first = state.state_dict()["twice"]
    with torch.no_grad():
        model.weight.fill_(3)
    second = state.state_dict()["twice"]
    assert second.data_ptr() == first.data_ptr()
    assert torch.equal(second, torch.full((2, 2), 6.0))


def test_states_that_are_none_are_refused(tmp_path: pathlib.Path) -> None:
    config = CheckpointConfig(enable=True, folder=str(tmp_path))
    with pytest.raises(ValueError, match='states has no "model"'):
        CheckpointManager(config, {})
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match='state "seed" is a int'):
        CheckpointManager(config, {"model": model, "seed": 7})
    hf = CheckpointConfig(enable=True, last_save_in_hf=True)
    with pytest.raises(ValueError, match="last_save_in_hf is True, but sd_adapter is not prov"):
        CheckpointManager(hf, {"model": model})


def train_and_resume(folder: str) -> tuple[int, str]:
    seed = Run(pathlib.Path(folder) / "seed", create_seed_checkpoint=True)
    with pytest.raises(ValueError, match="Must create seed checkpoint using a single device, to"):
        seed.manager.save_seed()
    seed.manager.close()
    run = Run(pathlib.Path(folder), async_mode="async", keep_latest_k=2)
    run.model = DistributedDataParallel(run.model)
    run.train(7)
    resumed = Run(pathlib.Path(folder), seed=1, keep_latest_k=2)
    resumed.manager.load()
    try:
        resumed.manager.load(3)
    except FileNotFoundError as error:
        return resumed.progress["step"], str(error)
    return resumed.progress["step"], ""


def test_ranks_agree_on_what_they_load(tmp_path: pathlib.Path) -> None:
    for step, error in run_on_ranks(2, train_and_resume, str(tmp_path)):
        assert step == 6
        assert "--checkpoint.load_step=3 not found at" in error
    assert steps_in(tmp_path) == ["step-4", "step-6"]
