"""Loads while another save replaces the checkpoint: old or new on all ranks, never a mix."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock

import dcpcpp
from support.ranks import run_on_ranks


def state_of(step: int) -> dict[str, Any]:
    values = {"w": torch.full((1000,), float(step)), "b": torch.full((10,), step), "step": step}
    return {"model": values}


def replace(directory: Path, step: int) -> None:
    # As a process of its own would: a rank's groups play no part.
    dcpcpp.save(state_of(step), checkpoint_id=directory, no_dist=True)


def replace_many_files(directory: Path, step: int) -> None:
    """A checkpoint of more files than an open one holds."""
    state = {**state_of(step), **{f"filler{i}": torch.ones(2) for i in range(70)}}
    writer = dcpcpp.FileSystemWriter(directory, single_file_per_rank=False)
    dcpcpp.save(state, storage_writer=writer, no_dist=True)


def replace_safetensors(directory: Path, step: int) -> None:
    tensors = {"w": torch.full((1000,), float(step)), "b": torch.full((1000,), float(step))}
    writer = dcpcpp.HuggingFaceStorageWriter(directory)
    dcpcpp.save(tensors, storage_writer=writer, no_dist=True)


def step_of(state: dict[str, Any]) -> int:
    """The step that all of a state is from."""
    model = state["model"]
    (step,) = {*model["w"].tolist(), *model["b"].tolist(), model["step"]}
    return int(step)


class ReplacingPlanner(stock.DefaultLoadPlanner):
    """Replaces the checkpoint after its metadata was read, `times` times."""

    def __init__(self, directory: Path, times: int, replace: Any = replace) -> None:
        super().__init__()
        self._directory = directory
        self._times = times
        self._replace = replace
        self.replacements = 0

    def create_local_plan(self) -> Any:
        if self.replacements < self._times:
            self.replacements += 1
            self._replace(self._directory, 1 + self.replacements)
        return super().create_local_plan()


def test_a_load_with_a_planner_of_the_users_starts_again_once(tmp_path: Path) -> None:
    replace(tmp_path, 1)
    planner = ReplacingPlanner(tmp_path, times=1)
    state = state_of(0)
    dcpcpp.load(state, checkpoint_id=tmp_path, planner=planner)
    assert planner.replacements == 1
    assert step_of(state) == 2

    planner = ReplacingPlanner(tmp_path, times=100)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.load(state_of(0), checkpoint_id=tmp_path, planner=planner)
    assert isinstance(info.value.failures[0][0], FileNotFoundError)
    assert planner.replacements == 2


def test_damage_that_no_save_made_is_reported_as_it_is(tmp_path: Path) -> None:
    replace(tmp_path, 1)
    (tmp_path / "__0_0.distcp").unlink()
    planner = ReplacingPlanner(tmp_path, times=0)
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.load(state_of(0), checkpoint_id=tmp_path, planner=planner)
    assert isinstance(info.value.failures[0][0], FileNotFoundError)


def test_a_key_that_the_new_checkpoint_lacks_is_no_success(tmp_path: Path) -> None:
    class Planner(ReplacingPlanner):
        def create_local_plan(self) -> Any:
            plan = super().create_local_plan()
            dcpcpp.save({"model": {"w": torch.ones(1000)}}, checkpoint_id=tmp_path, no_dist=True)
            return plan

    replace(tmp_path, 1)
    with pytest.raises(dcpcpp.CheckpointException):
        dcpcpp.load(state_of(0), checkpoint_id=tmp_path, planner=Planner(tmp_path, times=0))


class Replacement:
    """Replaces the checkpoint before what was opened is read, `times` times."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        directory: Path,
        times: int,
        replace: Any = replace,
    ) -> None:
        self.count = 0
        get_many = dcpcpp.Checkpoint.get_many

        def replace_and_get(checkpoint: dcpcpp.Checkpoint, keys: Any, **options: Any) -> Any:
            if self.count < times:
                self.count += 1
                replace(directory, 1 + self.count)
            return get_many(checkpoint, keys, **options)

        monkeypatch.setattr(dcpcpp.Checkpoint, "get_many", replace_and_get)


def test_load_full_starts_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_many_files(tmp_path, 1)
    Replacement(monkeypatch, tmp_path, 1, replace_many_files)
    assert step_of(dcpcpp.load_full(tmp_path)) == 2

    replacement = Replacement(monkeypatch, tmp_path, 100, replace_many_files)
    with pytest.raises(FileNotFoundError):
        dcpcpp.load_full(tmp_path)
    assert replacement.count == 2


def test_safetensors_of_the_same_tensors_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_safetensors(tmp_path, 1)
    planner = ReplacingPlanner(tmp_path, 1, replace_safetensors)
    state = {"w": torch.zeros(1000), "b": torch.zeros(1000)}
    reader = dcpcpp.HuggingFaceStorageReader(tmp_path)
    dcpcpp.load(state, storage_reader=reader, planner=planner)
    assert planner.replacements == 1
    assert {*state["w"].tolist(), *state["b"].tolist()} == {2.0}


@pytest.mark.parametrize("replace_it", [replace, replace_safetensors])
def test_what_was_opened_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace_it: Any
) -> None:
    replace_it(tmp_path, 1)
    opened = dcpcpp.open(tmp_path)
    (key,) = (key for key in opened if key.endswith("w"))
    for step in (2, 3):
        replace_it(tmp_path, step)
        assert opened.get(key).unique().tolist() == [1.0]
        assert dcpcpp.open(tmp_path).get(key).unique().tolist() == [float(step)]

    # Opened before it is replaced, and read after: of one checkpoint all the same.
    Replacement(monkeypatch, tmp_path, 1, replace_it)
    loaded = dcpcpp.load_full(tmp_path)
    assert step_of({"model": {"step": 3, **loaded.get("model", loaded)}}) == 3


def test_load_full_reports_a_file_that_no_save_took(tmp_path: Path) -> None:
    replace(tmp_path, 1)
    (tmp_path / "__0_0.distcp").unlink()
    with pytest.raises(FileNotFoundError, match=r"__0_0\.distcp"):
        dcpcpp.load_full(tmp_path)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        threading.Event().wait(0.005)


class SlowPlanner(ReplacingPlanner):
    """Replaces the checkpoint on rank 1, once rank 0 has opened its files."""

    def __init__(self, directory: Path, flag: Path) -> None:
        super().__init__(directory, times=dist.get_rank())
        self._flag = flag

    def create_local_plan(self) -> Any:
        if dist.get_rank() == 1:
            wait_for(self._flag)
        return super().create_local_plan()


class SlowReader(dcpcpp.FileSystemReader):
    """On rank 0, tells that its files are open; on rank 1, may replace before it reads."""

    def __init__(self, directory: Path, flag: Path, *, replaces: bool) -> None:
        super().__init__(directory)
        self._flag = flag
        self._replaces = replaces and dist.get_rank() == 1

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if self._replaces:
            self._replaces = False
            wait_for(self._flag)
            replace(Path(self.path), 2)
        return super().read_metadata(*args, **kwargs)

    def prepare_local_plan(self, plan: Any) -> Any:
        plan = super().prepare_local_plan(plan)
        if dist.get_rank() == 0:
            self._flag.touch()
        return plan


class ReplacingModel:
    """A `Stateful` that replaces the checkpoint on rank 1, when libdcp has read metadata."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._replaces = dist.get_rank() == 1
        self._values = state_of(0)["model"]

    def state_dict(self) -> dict[str, Any]:
        if self._replaces:
            self._replaces = False
            replace(self._directory, 2)
        return self._values

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._values = state_dict


def load_while_one_rank_sees_it_go(directory: Path, flags: Path) -> list[int]:
    """The steps that this rank loads, each while rank 1 alone loses files."""
    steps = []
    for name, replaces_before_reading in (("after", False), ("before", True)):
        if dist.get_rank() == 0:
            replace(directory, 1)
        dist.barrier()
        flag = flags / name
        reader = SlowReader(directory, flag, replaces=replaces_before_reading)
        planner = SlowPlanner(directory, flag)
        if replaces_before_reading:
            planner.replacements = 1  # the reader does it
        state = state_of(0)
        dcpcpp.load(state, storage_reader=reader, planner=planner)
        steps.append(step_of(state))
        dist.barrier()
    return steps


def load_natively_while_one_rank_sees_it_go(directory: Path) -> int:
    """The step that this rank loads while rank 1 alone loses files."""
    if dist.get_rank() == 0:
        replace(directory, 1)
    dist.barrier()
    model = ReplacingModel(directory)
    dcpcpp.load({"model": model}, checkpoint_id=directory)
    return step_of({"model": model.state_dict()})


def test_if_one_rank_loses_files_all_start_again(tmp_path: Path) -> None:
    for name in ("c", "flags", "native"):
        (tmp_path / name).mkdir()
    loaded = run_on_ranks(2, load_while_one_rank_sees_it_go, tmp_path / "c", tmp_path / "flags")
    assert loaded == [[2, 2], [2, 2]]
    loaded = run_on_ranks(2, load_natively_while_one_rank_sees_it_go, tmp_path / "native")
    assert loaded == [2, 2]


class ReplacedByItself:
    """Replaces what a rank saved for itself after its metadata was read, once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.weight = torch.zeros(1000)
        self.save(1)

    def save(self, step: int) -> None:
        state = {"own": {"weight": torch.full((1000,), float(step))}}
        dcpcpp.save(state, checkpoint_id=self._directory, no_dist=True, use_collectives=False)

    def state_dict(self) -> dict[str, Any]:
        self.save(2)
        return {"weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weight = state["weight"]


def test_a_load_of_what_a_rank_saved_for_itself_starts_again_once(tmp_path: Path) -> None:
    own = ReplacedByItself(tmp_path)
    dcpcpp.load({"own": own}, checkpoint_id=tmp_path, no_dist=True)
    assert own.weight.unique().tolist() == [2.0]
    (data,) = tmp_path.glob("*.distcp")
    data.unlink()  # and nobody has replaced it
    with pytest.raises(dcpcpp.CheckpointException, match="No such file"):
        dcpcpp.load({"own": {"weight": own.weight}}, checkpoint_id=tmp_path, no_dist=True)
