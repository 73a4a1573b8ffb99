"""How a run's manager begins and ends: where it saves first, what close() waits for and raises."""

from __future__ import annotations

import gc
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import dcpcpp
from dcpcpp import CheckpointConfig, CheckpointManager, _core, _manager_steps
from support.runs import Adapter, Run, steps_in


def test_an_absolute_folder_stands_for_itself(tmp_path: pathlib.Path) -> None:
    config = CheckpointConfig(enable=True, folder=str(tmp_path / "runs"), interval=1)
    states = {"model": nn.Linear(2, 2)}
    with CheckpointManager(config, states, base_folder=tmp_path / "dump") as manager:
        manager.save(1)
    assert (tmp_path / "runs" / "step-1" / ".metadata").exists()
    assert not (tmp_path / "dump").exists()


def test_the_first_step_is_saved_if_it_is_asked_for(tmp_path: pathlib.Path) -> None:
    Run(tmp_path, interval=100, enable_first_step_checkpoint=True).train(2)
    assert steps_in(tmp_path) == ["step-1"]


def test_the_step_that_is_asked_for_is_loaded(tmp_path: pathlib.Path) -> None:
    Run(tmp_path).train(4)
    run = Run(tmp_path, load_step=2)
    assert run.manager.load()
    assert run.progress["step"] == 2
    assert run.manager.load(4)
    assert run.progress["step"] == 4


def test_of_a_seed_with_all_states_the_model_alone_is_loaded(tmp_path: pathlib.Path) -> None:
    seed = Run(tmp_path, create_seed_checkpoint=True, last_save_model_only=False)
    seed.progress["tokens"] += 5
    seed.manager.save_seed()
    assert "train_state.tokens" in dcpcpp.open(tmp_path / "checkpoint" / "step-0").keys()  # noqa: SIM118
    run = Run(tmp_path, seed=1)
    assert run.manager.load()
    assert run.progress["tokens"] == 0
    assert torch.equal(run.model[0].weight, seed.model[0].weight)


def test_a_last_save_has_the_files_of_the_assets_and_nothing_beside_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"model.{n}.{p}": n + 1 for n in (0, 1) for p in ("weight", "bias")}
    monkeypatch.setattr(Adapter, "fqn_to_index_mapping", files)
    run = Run(tmp_path, async_mode="async", last_save_in_hf=True)
    assert run.manager.save(3, last_step=True)
    assert run.manager.upload is None  # it is complete, whatever the mode
    step = tmp_path / "checkpoint" / "step-3"
    assert sorted(path.name for path in step.glob("[!.]*")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    tuned = Run(tmp_path / "new", 1, initial_load_path=str(step), initial_load_in_hf=True)
    assert tuned.manager.load()
    assert torch.equal(tuned.model[1].bias, run.model[1].bias)


def test_a_save_waits_for_the_one_before(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path, async_mode="async")
    assert run.manager.save(2)
    first = run.manager.upload
    assert run.manager.save(4)
    assert first is not None
    assert first.done()
    assert run.manager.upload is not first
    run.manager.close()


def test_a_model_gets_what_it_has_and_misses_nothing(tmp_path: pathlib.Path) -> None:
    config = CheckpointConfig(enable=True, folder=str(tmp_path), interval=1)
    parts = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    with CheckpointManager(config, {"model": nn.ModuleDict(parts)}) as manager:
        manager.save(1)
    part = nn.ModuleDict({"a": nn.Linear(2, 2)})
    with CheckpointManager(config, {"model": part}) as manager:
        assert manager.load()
    assert torch.equal(part["a"].weight, parts["a"].weight)
    more = nn.ModuleDict({"a": nn.Linear(2, 2), "c": nn.Linear(2, 2)})
    before = more["a"].weight.clone()
    with (
        CheckpointManager(config, {"model": more}) as manager,
        pytest.raises(dcpcpp.CheckpointException, match=r"Missing key in checkpoint.*: c\.bias"),
    ):
        manager.load()
    assert torch.equal(more["a"].weight, before)


def test_buffers_that_are_made_anew_are_not_saved(tmp_path: pathlib.Path) -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("freqs_cis", torch.ones(4), persistent=False)
    config = CheckpointConfig(enable=True, folder=str(tmp_path), interval=1)
    with CheckpointManager(config, {"model": model}) as manager:
        manager.save(1)
    assert sorted(dcpcpp.open(tmp_path / "step-1").keys()) == ["bias", "weight"]


def test_garbage_is_collected_around_saves_and_after_loads(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", collected.append)
    run.manager.save(2)
    assert collected == [1, 1]
    run.manager.load()
    assert collected == [1, 1, 1]


@pytest.mark.parametrize("mode", ["async", "async_with_pinned_mem"])
def test_closing_raises_what_the_save_in_flight_failed_with(
    tmp_path: pathlib.Path, mode: str
) -> None:
    run = Run(tmp_path, async_mode=mode)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "step-2").write_text("no directory")
    assert run.manager.save(2)
    with pytest.raises(dcpcpp.CheckpointException, match="step-2"):
        run.manager.close()
    assert _core.staging_memory_nbytes() == 0
    run.manager.close()  # it has been told


def test_closing_waits_for_removals(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, removed = threading.Event(), []

    def remove(core: Any) -> None:
        may_end.wait(60)
        removed.append(core)

    monkeypatch.setattr(_manager_steps, "remove_old_steps", remove)
    run = Run(tmp_path)
    run.manager.save(2)
    close: Callable[[], None] = run.manager.close
    closing = threading.Thread(target=close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    may_end.set()
    closing.join()
    assert len(removed) == 1
