"""Options of torch's writer and planner that no other test is about."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.filesystem import SerializationFormat

import dcpcpp
from dcpcpp._io_options import default_threads


@pytest.mark.parametrize("thread_count", [0, -1])
def test_a_writer_of_no_files_is_refused_at_once(tmp_path: Path, thread_count: int) -> None:
    with pytest.raises(ValueError, match=f"number of files per rank, not {thread_count}"):
        dcpcpp.FileSystemWriter(tmp_path, thread_count=thread_count)
    assert list(tmp_path.iterdir()) == []


def test_files_that_nothing_could_read_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SAFETENSORS writes files that nothing can read"):
        dcpcpp.FileSystemWriter(tmp_path, serialization_format=SerializationFormat.SAFETENSORS)


def test_files_of_stock_that_nothing_can_read_are_not_called_damaged(tmp_path: Path) -> None:
    writer = stock.FileSystemWriter(tmp_path, serialization_format=SerializationFormat.SAFETENSORS)
    stock.save({"w": torch.ones(3)}, storage_writer=writer)
    with pytest.raises(dcpcpp.CheckpointException) as caught:
        dcpcpp.load({"w": torch.zeros(3)}, checkpoint_id=tmp_path)
    assert isinstance(caught.value.failures[0][0], NotImplementedError)
    assert "serialization_format=SAFETENSORS" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"io_threads": -1}, "io_threads is a number of threads, or 0, not -1"),
        ({"max_buffer_bytes": 1}, "max_buffer_bytes is at least 2097152"),
    ],
)
@pytest.mark.parametrize("storage", [dcpcpp.FileSystemWriter, dcpcpp.FileSystemReader])
def test_options_that_make_no_sense_are_refused_at_once(
    tmp_path: Path, storage: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        storage(tmp_path, **options)


@pytest.mark.parametrize("rate", [0, -5, 0.5, float("nan")])
def test_a_rate_that_writes_nothing_is_refused_at_once(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="max_write_rate is bytes per second"):
        dcpcpp.FileSystemWriter(tmp_path, max_write_rate=rate)


@pytest.mark.parametrize("options", [{}, {"direct_io": False}, {"compression": "zstd"}])
def test_a_save_takes_the_time_that_its_rate_gives_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    state = {"w": torch.rand(2_500_000), "b": torch.rand(2_500_000)}
    state = {name: tensor.view(torch.int32) ^ 1 for name, tensor in state.items()}
    writer = dcpcpp.FileSystemWriter(tmp_path, max_write_rate=50e6, **options)
    start = time.monotonic()
    dcpcpp.save(state, storage_writer=writer)
    seconds = time.monotonic() - start
    nbytes = sum(file.stat().st_size for file in tmp_path.glob("*.distcp"))
    assert nbytes > 10e6
    # The last transfer, of 4 MiB at most, needs not be waited for.
    assert seconds >= (nbytes - (4 << 20)) / 50e6
    loaded = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    stock.load(loaded, checkpoint_id=tmp_path)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


@dataclasses.dataclass(frozen=True)
class Thread:
    nice: int
    cpus: str


def threads_now() -> dict[int, Thread]:
    """All of this process, by number."""
    threads = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            nice = int((task / "stat").read_text().rpartition(")")[2].split()[16])
            cpus = (task / "status").read_text().partition("Cpus_allowed_list:\t")[2].split()[0]
            threads[int(task.name)] = Thread(nice, cpus)
    return threads


@pytest.mark.parametrize(
    "options",
    [{}, {"io_engine": "threads"}, {"direct_io": False}, {"compression": "zstd"}],
)
def test_the_threads_of_a_save_give_way_and_keep_to_their_processors(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    cpu = max(os.sched_getaffinity(0))
    state = {"w": torch.rand(2_000_000).view(torch.int32) ^ 1}
    before = threads_now()
    writer = dcpcpp.FileSystemWriter(
        tmp_path, max_write_rate=20e6, io_nice=7, io_cpus=[cpu], **options
    )
    future = dcpcpp.async_save(state, storage_writer=writer)
    placed = set()
    while not future.done():
        now = threads_now()
        placed |= {number for number in now if now[number] == Thread(7, str(cpu))}
        assert all(now[number] == before[number] for number in before.keys() & now.keys())
    future.result()
    assert placed - before.keys()
    loaded = {"w": torch.zeros_like(state["w"])}
    stock.load(loaded, checkpoint_id=tmp_path)
    assert torch.equal(loaded["w"], state["w"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"io_nice": -1}, "io_nice is from 0 to 19, not -1"),
        ({"io_nice": 20}, "io_nice is from 0 to 19, not 20"),
        ({"io_cpus": [100_000]}, r"io_cpus are processors of this process, not \[100000\]"),
    ],
)
def test_a_place_that_threads_cannot_have_is_refused_at_once(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        dcpcpp.FileSystemWriter(tmp_path, **options)


@pytest.mark.parametrize("ahead", [0, 1, 10**9])
def test_any_copy_ahead_is_accepted(tmp_path: Path, ahead: int) -> None:
    state = {"w": torch.arange(1000.0)}
    writer = dcpcpp.FileSystemWriter(tmp_path, per_thread_copy_ahead=ahead)
    dcpcpp.save(state, storage_writer=writer)
    loaded = {"w": torch.zeros(1000)}
    stock.load(loaded, checkpoint_id=tmp_path)
    assert torch.equal(loaded["w"], state["w"])


def test_a_planner_with_cached_plans_saves_what_has_changed(tmp_path: Path) -> None:
    planner = dcpcpp.DefaultSavePlanner(enable_plan_caching=True)
    for step, length in enumerate([3, 3, 5, 3]):
        path = tmp_path / str(step)
        state = {"w": torch.full((length,), float(step)), "step": step}
        dcpcpp.save(state, checkpoint_id=path, planner=planner)
        loaded = {"w": torch.zeros(length), "step": -1}
        stock.load(loaded, checkpoint_id=path)
        assert torch.equal(loaded["w"], state["w"])
        assert loaded["step"] == step


@pytest.mark.parametrize("save", [dcpcpp.save, stock.save, dcpcpp.async_save])
def test_a_writer_serves_one_save_after_the_other(tmp_path: Path, save: Any) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path)
    for step in range(3):
        save({"w": torch.full((5,), float(step))}, storage_writer=writer)
        dcpcpp.flush()
        loaded = {"w": torch.zeros(5)}
        stock.load(loaded, checkpoint_id=tmp_path)
        assert loaded["w"].tolist() == [step] * 5


def test_a_null_byte_in_a_path_is_an_error_and_makes_nothing(tmp_path: Path) -> None:
    dcpcpp.save({"w": torch.ones(1)}, checkpoint_id=tmp_path / "b")
    for call in (dcpcpp.save, dcpcpp.load):
        with pytest.raises((ValueError, dcpcpp.CheckpointException), match="null byte"):
            call({"w": torch.ones(1)}, checkpoint_id=f"{tmp_path}/b\0zzz")
    with pytest.raises(ValueError, match="null byte"):
        dcpcpp.open(f"{tmp_path}/b\0zzz")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("cores", "ranks", "threads", "beside"),
    [(1, "1", 1, 1), (2, "1", 2, 1), (2, "2", 1, 1), (8, "2", 4, 3), (64, "4", 4, 4)],
)
def test_async_saves_leave_a_core_to_the_training(
    monkeypatch: pytest.MonkeyPatch, cores: int, ranks: str, threads: int, beside: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert default_threads() == threads
    assert default_threads(beside_training=True) == beside


@pytest.mark.parametrize("writer", [dcpcpp.FileSystemWriter, dcpcpp.HuggingFaceStorageWriter])
def test_an_async_save_fills_blocks_by_one_thread_where_there_are_two_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    stats = dcpcpp.SaveStats()
    state = {f"w{i}": torch.ones(1 << 20) for i in range(16)}
    dcpcpp.async_save(state, storage_writer=writer(tmp_path / "ckpt"), stats=stats).result()
    assert len({thread for name, *_, thread, _ in stats.trace.spans() if name == "fill"}) == 1
