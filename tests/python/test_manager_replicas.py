"""Fault-tolerant runs: what each replica saves, where, and what it gets back."""

from __future__ import annotations

import logging
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.stateful import Stateful

import dcpcpp
from dcpcpp._save_queue import save_queue
from support.ranks import run_on_ranks
from support.runs import Run

State = dict[str, Any]


class Quorum:
    """Stands for a torchft.Manager."""

    def __init__(self, rank: int | None) -> None:
        self.rank = rank
        self.fill: Callable[[State], None] = lambda _: None
        self.make: Callable[[], State] = dict

    def participating_rank(self) -> int | None:
        return self.rank

    def set_state_dict_fns(
        self, load_state_dict: Callable[[State], None], state_dict: Callable[[], State]
    ) -> None:
        self.fill, self.make = load_state_dict, state_dict


class FaultTolerance:
    """Stands for TorchTitan's TorchFTManager."""

    def __init__(self, replica_id: int, rank: int | None, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.manager = Quorum(rank)
        self.replica_id = replica_id


class Data(Stateful):
    """A dataloader: how many batches it has given, under a key of the replica's."""

    def __init__(self, replica_id: int) -> None:
        self.key = f"dp_rank_{replica_id}"
        self.position = 0

    def state_dict(self) -> State:
        return {self.key: self.position, "world_size": 2}

    def load_state_dict(self, state_dict: State) -> None:
        self.position = state_dict[self.key]


class ReplicaRun(Run):
    """One replica, the only process of its group."""

    def __init__(
        self, folder: pathlib.Path, replica_id: int, rank: int | None, **options: Any
    ) -> None:
        self.ft = FaultTolerance(replica_id, rank)
        self.data = Data(replica_id)
        given = {"ft_manager": self.ft, "per_rank_states": {"dataloader": self.data}}
        super().__init__(folder, replica_id, given=given, **options)

    def advance(self, until: int) -> None:
        """Train up to step `until`; of each step the data is used up by its replica."""
        while self.progress["step"] < until:
            self.progress["step"] += 1
            self.data.position += 10
            self.manager.save(self.progress["step"])


def names_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


@pytest.mark.parametrize("mode", ["disabled", "async", "async_with_pinned_mem"])
def test_each_replica_saves_its_data_and_one_saves_the_rest(
    tmp_path: pathlib.Path, mode: str
) -> None:
    options = {"async_mode": mode, "keep_latest_k": 2}
    for replica_id, rank in ((0, 0), (1, 1)):
        run = ReplicaRun(tmp_path, replica_id, rank, **options)
        run.advance(5 + replica_id)
        run.manager.close()
    folder = tmp_path / "checkpoint"
    assert names_in(folder) == ["ft-replicat-0", "ft-replicat-1", "step-2", "step-4"]
    assert names_in(folder / "ft-replicat-0") == ["step-4", "step-5"]
    assert names_in(folder / "ft-replicat-1") == ["step-5", "step-6"]
    assert dcpcpp.open(folder / "ft-replicat-1" / "step-6").keys() == ["dataloader.rank_0_of_1"]
    # Of the data each goes on where it was itself, of the rest where the checkpoint is.
    for replica_id, position in ((0, 50), (1, 60)):
        run = ReplicaRun(tmp_path, replica_id, None, **options)
        assert run.manager.load()
        assert (run.progress["step"], run.data.position) == (4, position)
        run.manager.close()


def test_who_saves_for_all_is_asked_at_each_save(tmp_path: pathlib.Path) -> None:
    run = ReplicaRun(tmp_path, 3, 1)
    run.advance(1)
    assert not run.manager.save(2)
    run.ft.manager.rank = 0
    assert run.manager.save(4)
    run.ft.manager.rank = None  # it heals, or is a spare one
    assert not run.manager.save(6)
    run.manager.close()
    folder = tmp_path / "checkpoint"
    assert names_in(folder) == ["ft-replicat-3", "step-4"]
    assert names_in(folder / "ft-replicat-3") == ["step-1", "step-2", "step-4", "step-6"]


def test_replicas_give_each_other_all_but_their_data(tmp_path: pathlib.Path) -> None:
    healthy, healing = ReplicaRun(tmp_path, 0, 0), ReplicaRun(tmp_path, 1, None)
    healthy.progress["step"] = 7
    state = healthy.ft.manager.make()
    assert sorted(state) == ["lr_scheduler", "model", "optimizer", "train_state"]
    healing.ft.manager.fill(state)
    assert healing.progress["step"] == 7
    for ours, theirs in zip(healing.model.parameters(), healthy.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["disabled", "async"])
def test_a_failed_save_of_data_takes_no_full_one_with_it(tmp_path: pathlib.Path, mode: str) -> None:
    run = ReplicaRun(tmp_path, 0, 0, async_mode=mode)
    in_the_way = tmp_path / "checkpoint" / "ft-replicat-0" / "step-2"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_bytes(b"no directory")
    run.advance(2)  # its data fails in the background
    run.manager.wait()
    assert dcpcpp.latest(tmp_path / "checkpoint") == tmp_path / "checkpoint" / "step-2"
    with pytest.raises(dcpcpp.CheckpointException, match="step-2"):
        run.advance(3)
    run.advance(4)  # and nobody hears of it again
    run.manager.close()
    assert "step-4" in names_in(tmp_path / "checkpoint")
    assert names_in(in_the_way.parent)[-2:] == ["step-3", "step-4"]


def test_data_is_saved_while_other_saves_run_and_after_they_failed(tmp_path: pathlib.Path) -> None:
    run = ReplicaRun(tmp_path, 0, 1)
    may_end = threading.Event()

    def fail(earlier: BaseException | None) -> None:
        may_end.wait(60)
        raise OSError("the disk is full")

    upload = save_queue().put(fail)
    try:
        run.advance(3)
        assert not upload.done()
    finally:
        may_end.set()
    save_queue().wait_until_at_most(0)
    run.advance(5)
    run.manager.close()
    assert names_in(tmp_path / "checkpoint" / "ft-replicat-0")[-1] == "step-5"
    assert isinstance(upload.exception(), OSError)


def test_data_that_cannot_be_loaded_ends_no_replica(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = ReplicaRun(tmp_path, 0, 0)
    run.advance(2)
    run.manager.close()
    for step in (tmp_path / "checkpoint" / "ft-replicat-0").iterdir():
        (step / ".metadata").write_bytes(b"nonsense")
    again = ReplicaRun(tmp_path, 0, 0)
    assert again.manager.load()
    assert (again.progress["step"], again.data.position) == (2, 0)
    assert "this replica begins its data anew: none of the 2 steps" in caplog.text


def test_without_checkpoints_of_data_one_replica_still_saves_the_rest(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        run = ReplicaRun(tmp_path, 0, 0, enable_ft_dataloader_checkpoints=False)
    assert "replicas can retrain over the same data multiple times" in caplog.text
    run.advance(2)
    run.manager.close()
    assert names_in(tmp_path / "checkpoint") == ["step-2"]
    with pytest.raises(ValueError, match='needs a state "dataloader", and there are only'):
        Run(tmp_path, given={"ft_manager": FaultTolerance(0, 0)})
    off = Run(tmp_path, given={"ft_manager": FaultTolerance(0, 1, enabled=False)})
    assert off.manager.save(4)


def go_on_in_a_replica_of_two(folder: str) -> list[int]:
    """Where this rank's data and the run are, after a resume."""
    own = torch.distributed.get_rank()
    run = ReplicaRun(pathlib.Path(folder), 5, 0, interval=100)
    run.data.position = own
    run.advance(3)
    run.manager.close()
    again = ReplicaRun(pathlib.Path(folder), 5, 0)
    again.manager.load()
    again.manager.close()
    return [again.data.position, again.progress["step"]]


def test_a_replica_may_have_several_ranks(tmp_path: pathlib.Path) -> None:
    # Of the run itself nothing was saved yet, so it begins; the data goes on.
    assert run_on_ranks(2, go_on_in_a_replica_of_two, str(tmp_path)) == [[30, 0], [31, 0]]
    assert names_in(tmp_path / "checkpoint" / "ft-replicat-5") == ["step-1", "step-2", "step-3"]


def train_two_models(folder: str) -> list[tuple[str, int]]:
    """What failed of two runs over the same ranks, which save after each other."""
    runs = {name: ReplicaRun(pathlib.Path(folder) / name, 5, 0, interval=100) for name in "ab"}
    failed = []
    for step in (1, 2, 3):
        for name, run in runs.items():
            try:
                run.advance(step)
            except dcpcpp.CheckpointException:
                failed.append((name, step))
    for run in runs.values():
        run.manager.close()
    return failed


def test_two_managers_may_save_over_the_same_ranks(tmp_path: pathlib.Path) -> None:
    in_the_way = tmp_path / "a" / "checkpoint" / "ft-replicat-5" / "step-2"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_bytes(b"no directory")
    # That step 2 of one failed is told in its next save, and to nobody else.
    assert run_on_ranks(2, train_two_models, str(tmp_path)) == [[("a", 3)], [("a", 3)]]
    for name, steps in (("a", ["step-1", "step-3"]), ("b", ["step-1", "step-2", "step-3"])):
        saved = (tmp_path / name / "checkpoint" / "ft-replicat-5").glob("*/.metadata")
        assert sorted(path.parent.name for path in saved) == steps
