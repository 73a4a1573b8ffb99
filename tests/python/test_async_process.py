"""async_save by another process: AsyncCheckpointerType.PROCESS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner

import dcpcpp
from dcpcpp._saver import process_saver
from support import lost_ranks, process_saves
from support.forked_ranks import start_job
from support.process_saves import save

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is"),
    pytest.mark.usefixtures("no_save_is_left"),
    pytest.mark.timeout(180),
]


def make_state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(40, 30, generator=generator)
    return {
        "plain": base,
        "part": base[3:, ::2],
        "transposed": base.t(),
        "expanded": torch.arange(3.0).expand(1000, 3),
        "conjugate": torch.randn(8, dtype=torch.complex64, generator=generator).conj(),
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(3),
        "large": torch.randn(1 << 20, generator=generator),
        "nested": {"list": [torch.ones(2), 5], "text": "words" * 10_000},
    }


def zeros_like(state: dict[str, Any]) -> dict[str, Any]:
    return {
        key: torch.zeros(value.shape, dtype=value.dtype) if torch.is_tensor(value) else None
        for key, value in state.items()
        if key != "nested"
    } | {"nested": {"list": [torch.zeros(2), 0], "text": ""}}


def assert_same(loaded: dict[str, Any], state: dict[str, Any]) -> None:
    for key, value in state.items():
        if key == "nested":
            assert loaded[key]["text"] == value["text"]
            assert torch.equal(loaded[key]["list"][0], value["list"][0])
        else:
            assert torch.equal(loaded[key], value), key


def test_every_bit_arrives_and_stock_torch_reads_it(tmp_path: Path) -> None:
    state = make_state()
    stats = dcpcpp.SaveStats()
    metadata = save(state, tmp_path / "c", stats=stats).result()
    assert "plain" in metadata.state_dict_metadata
    for library in (dcpcpp, stock):
        loaded = zeros_like(state)
        library.load(loaded, checkpoint_id=tmp_path / "c")
        assert_same(loaded, state)
    assert {"call", "copy", "hand over", "write", "commit"} <= stats.phases.keys()
    assert stats.nbytes > 4 << 20


def test_the_saver_is_kept_and_is_no_python(tmp_path: Path) -> None:
    processes = set()
    for number in range(3):
        save({"x": torch.ones(1000)}, tmp_path / str(number)).result()
        processes.add(process_saver().process_id)
    (process,) = processes
    assert process is not None
    assert Path(f"/proc/{process}/exe").readlink().name == "dcpcpp_saver"
    maps = Path(f"/proc/{process}/maps").read_text()
    for library in ("libpython", "libtorch", "libcuda"):
        assert library not in maps


def test_files_are_as_a_save_of_this_process_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save({"x": torch.ones(10)}, tmp_path / "first").result()
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        future = save({"x": torch.ones(10)}, Path("relative/c"), compression="zstd")
        monkeypatch.chdir("/")
        future.result()
    finally:
        os.umask(before)
    mode = (tmp_path / "relative" / "c" / ".metadata").stat().st_mode
    assert mode & 0o777 == 0o640
    loaded = {"x": torch.zeros(10)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path / "relative" / "c")
    assert torch.equal(loaded["x"], torch.ones(10))


def test_a_stager_of_torchs_own_works(tmp_path: Path) -> None:
    state = {"x": torch.ones(1000)}
    save(state, tmp_path / "c", async_stager=stock.staging.BlockingAsyncStager()).result()
    loaded = {"x": torch.zeros(1000)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path / "c")
    assert torch.equal(loaded["x"], state["x"])


def test_saves_in_threads_and_by_the_saver_follow_each_other(tmp_path: Path) -> None:
    futures = []
    for number in range(4):
        call = save if number % 2 else dcpcpp.async_save
        futures.append(
            call({"x": torch.full((9,), float(number))}, checkpoint_id=tmp_path / "c")
            if number % 2 == 0
            else call({"x": torch.full((9,), float(number))}, tmp_path / "c")
        )
    for future in futures:
        future.result()
    loaded = {"x": torch.zeros(9)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path / "c")
    assert torch.equal(loaded["x"], torch.full((9,), 3.0))


def test_memory_goes_back_when_the_stager_is_closed(tmp_path: Path) -> None:
    stager = dcpcpp.DefaultStager()
    state = {"x": torch.ones(1 << 20)}
    dcpcpp.prewarm(state, stager, stock.state_dict_saver.AsyncCheckpointerType.PROCESS)
    prewarmed = process_saver().memory_nbytes
    assert prewarmed >= 4 << 20
    save(state, tmp_path / "c", async_stager=stager).upload_completion.result()
    assert process_saver().memory_nbytes == prewarmed
    stager.close()
    assert process_saver().memory_nbytes == 0


class OwnPlanner(DefaultSavePlanner):
    pass


@pytest.mark.parametrize("what", ["planner", "url", "storage"])
def test_what_only_this_process_can_write_is_refused(tmp_path: Path, what: str) -> None:
    class OwnWriter(dcpcpp.FileSystemWriter):
        pass

    options: dict[str, Any] = {
        "planner": {"checkpoint_id": tmp_path / "c", "planner": OwnPlanner()},
        "url": {"checkpoint_id": "memory://c"},
        "storage": {"storage_writer": OwnWriter(tmp_path / "c")},
    }[what]
    kind = stock.state_dict_saver.AsyncCheckpointerType.PROCESS
    with pytest.raises(ValueError, match="THREAD"):
        dcpcpp.async_save({"x": torch.ones(3)}, async_checkpointer_type=kind, **options)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_state_that_does_not_fit_the_memory_is_saved_by_threads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    stager = dcpcpp.DefaultStager(
        stock.staging.StagingOptions(False, False, is_async, False), max_staging_bytes=4096
    )
    state = {"x": torch.ones(10_000), "small": torch.ones(9)}
    response = save(state, tmp_path / "c", async_stager=stager)
    with dcpcpp.fence():
        for tensor in state.values():
            tensor.zero_()
    getattr(response, "upload_completion", response).result()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "rank 0 has no room for 40000 of 40036 bytes" in record.message
    assert "does not outlive them" in record.message
    assert "max_staging_bytes" in record.message
    loaded = {"x": torch.zeros(10_000), "small": torch.zeros(9)}
    stock.load(loaded, checkpoint_id=tmp_path / "c")
    assert all(bool((tensor == 1).all()) for tensor in loaded.values())
    caplog.clear()
    save(state, tmp_path / "c").result()  # which fits
    assert not caplog.records
    dcpcpp.load(loaded, checkpoint_id=tmp_path / "c")
    assert not any(bool(tensor.any()) for tensor in loaded.values())


def test_errors_of_the_saver_are_those_of_a_save(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".metadata").mkdir()
    with pytest.raises(dcpcpp.CheckpointException) as raised:
        save({"x": torch.ones(3)}, tmp_path / "c").result()
    assert isinstance(raised.value.failures[0][0], IsADirectoryError)


def run_trainer(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program without `if __name__ == "__main__"`, which prints what it does."""
    program = folder / "trainer.py"
    begin = """
        import os, signal, sys, warnings
        warnings.simplefilter("ignore")
        print("main runs", flush=True)
        import torch, dcpcpp
        from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType
        def save(path):
            return dcpcpp.async_save(
                {"x": torch.full((1 << 20,), 5.0)}, checkpoint_id=path, no_dist=True,
                async_checkpointer_type=AsyncCheckpointerType.PROCESS)
    """
    program.write_text(textwrap.dedent(begin) + textwrap.dedent(body))
    return subprocess.run(
        [sys.executable, str(program)], cwd=folder, capture_output=True, text=True, timeout=120
    )


def wait_for_value(path: Path) -> None:
    while not (path / ".metadata").exists():
        time.sleep(0.01)
    loaded = {"x": torch.zeros(1 << 20)}
    dcpcpp.load(loaded, checkpoint_id=path)
    assert loaded["x"].unique().tolist() == [5.0]


def test_a_trainer_that_is_killed_when_the_call_returns_has_its_checkpoint(tmp_path: Path) -> None:
    done = run_trainer('save("c"); os.kill(os.getpid(), signal.SIGKILL)', tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.splitlines() == ["main runs"]
    wait_for_value(tmp_path / "c")


def test_a_save_at_the_end_of_the_program_is_finished(tmp_path: Path) -> None:
    done = run_trainer('save("c")', tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["main runs"]
    assert (tmp_path / "c" / ".metadata").exists()


@pytest.mark.parametrize("use_collectives", [True, False])
def test_savers_of_two_ranks(tmp_path: Path, use_collectives: bool) -> None:
    with start_job(2, process_saves.train_and_save, tmp_path, use_collectives) as job:
        told = job.all_told()
    assert len({process for processes in told for process in processes}) == 2
    for number, value in enumerate((lost_ranks.OLD, lost_ranks.NEW)):
        assert not list((tmp_path / str(number)).glob("*.record"))
        if use_collectives:
            assert lost_ranks.value_in(tmp_path / str(number), 2) == value


@pytest.mark.parametrize("use_collectives", [True, False])
def test_ranks_of_which_one_has_too_much_save_in_threads(
    tmp_path: Path, use_collectives: bool
) -> None:
    function = process_saves.save_too_much_on_one_rank
    with start_job(2, function, tmp_path / "c", use_collectives) as job:
        for (message,) in job.all_told():
            assert "rank 1 has no room for" in message
    assert not list((tmp_path / "c").glob("*.record"))
    if use_collectives:
        assert lost_ranks.value_in(tmp_path / "c", 2) == lost_ranks.NEW


@pytest.mark.parametrize("killed", [[0], [1], [0, 1]])
def test_savers_commit_for_trainers_that_are_killed(tmp_path: Path, killed: list[int]) -> None:
    directory = tmp_path / "c"
    with start_job(2, process_saves.save_and_be_killed, directory, killed) as job:
        for rank in {0, 1} - set(killed):
            assert job.told(rank).kind == ""
        while any(job.is_running(rank) for rank in killed):
            time.sleep(0.01)
        deadline = time.monotonic() + 60
        while value_of(directory) != lost_ranks.NEW:
            assert time.monotonic() < deadline, job.errors()
            time.sleep(0.05)


def value_of(directory: Path) -> float:
    """OLD or NEW, which are of different sizes: the template is the checkpoint's own."""
    tensors = dcpcpp.load_full(directory).values()
    (value,) = {float(extreme) for tensor in tensors for extreme in tensor.aminmax()}
    return value


def test_a_rank_that_cannot_save_fails_the_others(tmp_path: Path) -> None:
    with start_job(2, process_saves.fail_on_one_rank, tmp_path / "c") as job:
        first, second = job.all_told()
    assert "no state on rank 1" in first[0].failures[1]
    assert second[0].kind == "LookupError"
    for ending in (first[1], second[1]):
        assert "saves in threads" in str(ending.failures)
    assert first[2].kind == second[2].kind == ""
    assert lost_ranks.value_in(tmp_path / "c", 2) == lost_ranks.NEW
