"""dcpcpp.titan on a stand-in of TorchTitan's seam; tests/torchtitan has the real trainer."""

from __future__ import annotations

import importlib
import os
import pathlib
import signal
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.stateful import Stateful

import dcpcpp
from support import fake_titan


@pytest.fixture
def titan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, module in fake_titan.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "dcpcpp.titan", raising=False)
    yield importlib.import_module("dcpcpp.titan")
    sys.modules.pop("dcpcpp.titan", None)


class State(Stateful):
    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step = state_dict["step"]


def start(titan: Any, folder: pathlib.Path, **options: Any) -> tuple[Any, State, nn.Module]:
    """A manager as TorchTitan's trainer makes it; its train state; the model."""
    stock = fake_titan.BaseCheckpointManager.Config(enable=True, interval=2)
    trainer_config = types.SimpleNamespace(checkpoint=stock)
    config = titan.with_dcpcpp(trainer_config, **options).checkpoint
    state, model = State(), nn.Linear(2, 2)
    manager = titan.DcpcppCheckpointManager(
        config,
        dataloader=None,
        model_parts=[model],
        optimizers=State(),
        lr_schedulers=State(),
        states={"train_state": state},
        sd_adapter=None,
        base_folder=str(folder),
    )
    return manager, state, model


@pytest.mark.parametrize("mode", ["disabled", "async", "async_with_pinned_mem"])
def test_a_trainer_saves_and_goes_on(titan: Any, tmp_path: pathlib.Path, mode: str) -> None:
    manager, state, model = start(titan, tmp_path, async_mode=mode)
    assert not manager.load()
    assert not manager.save(1)
    state.step = 2
    assert manager.save(2)
    assert (manager.save_future is None) == (mode == "disabled")
    manager.maybe_wait_for_staging()
    manager.maybe_wait_for_saving()
    assert manager.save_future is None
    manager.close()
    manager.close()
    final, _, _ = start(titan, tmp_path / "final", async_mode=mode)
    assert final.save(3, last_step=True)
    assert final.save_future is None  # the last save is complete, whatever the mode
    assert (tmp_path / "final" / "checkpoint" / "step-3" / ".metadata").exists()
    final.close()
    again, resumed, copy = start(titan, tmp_path)
    assert again.load()
    assert resumed.step == 2
    assert torch.equal(copy.weight, model.weight)
    again.close()


def test_a_run_that_gets_sigterm_saves_and_ends(titan: Any, tmp_path: pathlib.Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    manager, state, _ = start(titan, tmp_path, save_on_sigterm=True)
    os.kill(os.getpid(), signal.SIGTERM)
    state.step = 1
    with pytest.raises(SystemExit) as end:
        manager.save(1)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    again, resumed, _ = start(titan, tmp_path)
    assert again.load()
    assert resumed.step == 1


def test_an_error_in_the_making_leaves_nothing_to_close(
    titan: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    before = signal.getsignal(signal.SIGTERM)

    def fail(manager: Any, *_: Any, **__: Any) -> None:
        raise ValueError("no such folder")

    monkeypatch.setattr(titan, "CheckpointManager", fail)
    real = titan.DcpcppCheckpointManager.__init__

    def make(self: Any, *args: Any, **options: Any) -> None:
        made.append(self)
        real(self, *args, **options)

    monkeypatch.setattr(titan.DcpcppCheckpointManager, "__init__", make)
    with pytest.raises(ValueError, match="no such folder"):
        start(titan, tmp_path, save_on_sigterm=True)
    made[0].close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_save_in_flight_that_fails_is_raised_by_close(titan: Any, tmp_path: pathlib.Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    manager, _, _ = start(titan, tmp_path, async_mode="async", save_on_sigterm=True)
    in_the_way = tmp_path / "checkpoint" / "step-2"
    in_the_way.parent.mkdir()
    in_the_way.write_bytes(b"no directory")
    assert manager.save(2)
    with pytest.raises(dcpcpp.CheckpointException, match="step-2"):
        manager.close()
    assert signal.getsignal(signal.SIGTERM) == before
    manager.close()  # it has been told


def test_later_releases_ask_about_paths(titan: Any, tmp_path: pathlib.Path) -> None:
    manager, _, _ = start(titan, tmp_path)
    assert manager.save(2)
    manager.close()
    storage, step = manager._storage, str(tmp_path / "checkpoint" / "step-2")
    assert isinstance(storage, fake_titan.CheckpointStorage)
    assert manager.folder == str(tmp_path / "checkpoint")
    assert storage.listdir(manager.folder) == ["step-2"]
    assert (storage.isdir(step), storage.isfile(step)) == (True, False)
    assert (storage.isdir(f"{step}/.metadata"), storage.isfile(f"{step}/.metadata")) == (
        False,
        True,
    )
    (tmp_path / "link").symlink_to(step)
    with pytest.raises(OSError, match="symbolic link"):
        storage.remove(str(tmp_path / "link"))
    storage.remove(step)
    assert (storage.listdir(manager.folder), storage.isdir(step)) == ([], False)
    for ask in (storage.isdir, storage.isfile, storage.listdir, storage.remove):
        with pytest.raises(ValueError, match="local folders, not at gs://bucket/step-2"):
            ask("gs://bucket/step-2")


def test_options_are_checked_when_the_recipe_is_made(titan: Any, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="Invalid async_mode: fast"):
        start(titan, tmp_path, async_mode="fast")
    with pytest.raises(TypeError, match="intervals"):
        start(titan, tmp_path, intervals=3)
    off, _, _ = start(titan, tmp_path, enable=False)
    assert not off.save(2)
    off.close()
