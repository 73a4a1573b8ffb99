"""async_save in one process: copies, futures, fences, order, and errors that nobody looked at."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import staging as torch_staging
from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse

import dcpcpp
from support.async_states import IN_BACKGROUND, NUMEL, state_of, value_in
from support.held_files import held_files

pytestmark = pytest.mark.usefixtures("no_save_is_left")


def test_the_future_gives_the_metadata_and_stock_torch_loads_it(tmp_path: Path) -> None:
    future = dcpcpp.async_save(state_of(7.0), checkpoint_id=tmp_path / "c")
    assert isinstance(future, Future)
    metadata = future.result()
    assert isinstance(metadata, dcpcpp.Metadata)
    assert set(metadata.state_dict_metadata) == {"w", "t", "step"}
    assert value_in(tmp_path / "c") == 7.0


def test_the_state_may_change_when_the_call_has_returned(tmp_path: Path) -> None:
    state = state_of(1.0)
    with held_files() as held:
        future = dcpcpp.async_save(state, checkpoint_id=f"held://{tmp_path}/c")
        held.wait_until_begun()
        state["w"].fill_(2.0)
        state["t"].fill_(2.0)
        held.release()
        future.result()
    assert value_in(tmp_path / "c") == 1.0


class OwnPlanner(dcpcpp.DefaultSavePlanner):
    """With it, torch's protocol writes."""


@pytest.mark.parametrize("planner", [None, OwnPlanner()])
@pytest.mark.parametrize("stager", [None, dcpcpp.DefaultStager(IN_BACKGROUND)])
def test_a_save_stays_where_it_began_when_the_process_goes_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stager: dcpcpp.DefaultStager | None,
    planner: dcpcpp.DefaultSavePlanner | None,
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    dcpcpp.save(state_of(3.0), checkpoint_id=tmp_path / "b" / "c")
    monkeypatch.chdir(tmp_path / "a")
    with held_files() as held:
        earlier = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/held")
        held.wait_until_begun()
        later = dcpcpp.async_save(
            state_of(2.0), checkpoint_id="c", async_stager=stager, planner=planner
        )
        monkeypatch.chdir(tmp_path / "b")
        held.release()
        earlier.result()
    getattr(later, "upload_completion", later).result()
    assert value_in(tmp_path / "a" / "c") == 2.0
    assert value_in(tmp_path / "b" / "c") == 3.0


@pytest.mark.parametrize("stager", [None, dcpcpp.DefaultStager(IN_BACKGROUND)])
def test_a_checkpoint_that_is_replaced_is_told_of(
    tmp_path: Path, stager: dcpcpp.DefaultStager | None
) -> None:
    def save() -> None:
        dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "c", async_stager=stager)
        dcpcpp.flush()

    dcpcpp.save(state_of(1.0), checkpoint_id=tmp_path / "c")
    with pytest.warns(UserWarning, match="Detected an existing checkpoint"):
        save()
    assert value_in(tmp_path / "c") == 2.0


@pytest.mark.parametrize("how", ["handle", "future", "fence", "optimizer"])
def test_the_state_may_change_behind_a_fence(tmp_path: Path, how: str) -> None:
    weight = torch.nn.Parameter(torch.full((NUMEL,), 1.0))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.full((NUMEL,), -1.0)
    fence = dcpcpp.fence(optimizer) if how == "optimizer" else None
    stager = dcpcpp.DefaultStager(IN_BACKGROUND)
    state = {**state_of(1.0), "w": weight}
    with held_files() as held:
        response = dcpcpp.async_save(
            state, checkpoint_id=f"held://{tmp_path}/c", async_stager=stager
        )
        assert isinstance(response, AsyncSaveResponse)
        assert isinstance(response, dcpcpp.AsyncSaveHandle)
        if how == "handle":
            assert response.wait_staged()
        elif how == "future":
            response.staging_completion.result()
        elif how == "fence":
            with dcpcpp.fence():
                optimizer.step()
        optimizer.step()
        held.release()
        response.upload_completion.result()
    assert value_in(tmp_path / "c") == 1.0
    if fence is not None:
        fence.remove()
    stager.close()


def test_torchs_stager_is_used_as_it_is(tmp_path: Path) -> None:
    with contextlib.closing(torch_staging.DefaultStager(IN_BACKGROUND)) as stager:
        response = dcpcpp.async_save(
            state_of(5.0), checkpoint_id=tmp_path / "c", async_stager=stager
        )
        assert isinstance(response, AsyncSaveResponse)
        response.upload_completion.result()
    assert value_in(tmp_path / "c") == 5.0


def test_our_stager_works_in_torchs_async_save(tmp_path: Path) -> None:
    stager = dcpcpp.DefaultStager()
    response = stock.async_save(
        state_of(6.0),
        storage_writer=dcpcpp.FileSystemWriter(tmp_path / "c"),
        async_stager=stager,
        no_dist=True,
    )
    response.upload_completion.result()
    stager.close()
    assert value_in(tmp_path / "c") == 6.0


def test_a_planner_of_the_users_own_runs_under_torchs_protocol(tmp_path: Path) -> None:
    class Planner(stock.DefaultSavePlanner):
        pass

    dcpcpp.async_save(state_of(8.0), checkpoint_id=tmp_path / "c", planner=Planner()).result()
    assert value_in(tmp_path / "c") == 8.0


def test_saves_follow_each_other_in_the_order_of_the_calls(tmp_path: Path) -> None:
    futures = [
        dcpcpp.async_save(state_of(float(number)), checkpoint_id=tmp_path / "c")
        for number in range(1, 6)
    ]
    for future in futures:
        future.result()
    assert value_in(tmp_path / "c") == 5.0


def test_a_save_waits_for_those_in_the_background(tmp_path: Path) -> None:
    with held_files() as held:
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/c")
        held.wait_until_begun()
        held.release()
        dcpcpp.save(state_of(2.0), checkpoint_id=tmp_path / "c")
        assert future.done()
    assert value_in(tmp_path / "c") == 2.0


def test_a_busy_queue_refuses_if_asked_to(tmp_path: Path) -> None:
    with held_files() as held:
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/c")
        held.wait_until_begun()
        with pytest.raises(dcpcpp.CheckpointBusyError):
            dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "d", if_busy="refuse")
        held.release()
        future.result()
    dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "d", if_busy="refuse").result()


def test_what_a_state_dict_method_raises_comes_out_of_the_call(tmp_path: Path) -> None:
    class Broken:
        def state_dict(self) -> dict[str, Any]:
            raise KeyError("broken")

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    with pytest.raises(KeyError, match="broken"):
        dcpcpp.async_save({"m": Broken()}, checkpoint_id=tmp_path / "c")
    dcpcpp.async_save(state_of(1.0), checkpoint_id=tmp_path / "c").result()


def test_patch_torch_swaps_async_save(tmp_path: Path) -> None:
    with dcpcpp.patch_torch():
        stock.async_save(state_of(9.0), checkpoint_id=tmp_path / "c").result()
    assert list((tmp_path / "c").glob(".dcpcpp-*"))
    assert value_in(tmp_path / "c") == 9.0


def test_prewarming_takes_the_memory_that_the_save_needs(tmp_path: Path) -> None:
    dcpcpp.prewarm(state_of(1.0))
    from dcpcpp import _core

    before = _core.staging_memory_nbytes()
    assert before >= 4 * NUMEL
    dcpcpp.async_save(state_of(1.0), checkpoint_id=tmp_path / "c").result()
    assert _core.staging_memory_nbytes() == before


def test_a_forked_child_has_no_saves_of_its_parent(tmp_path: Path) -> None:
    for_child = state_of(2.0)  # torch's threads do not survive a fork
    with held_files() as held:
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/c")
        held.wait_until_begun()
        pid = os.fork()
        if pid == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            done = dcpcpp.flush(5)
            dcpcpp.async_save(for_child, checkpoint_id=tmp_path / "d").result()
            os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        held.release()
        future.result()
    assert value_in(tmp_path / "c") == 1.0
    assert value_in(tmp_path / "d") == 2.0


def test_stalls_are_reported(tmp_path: Path) -> None:
    before = dcpcpp.stall_report()
    for _ in range(3):
        dcpcpp.step()
    with held_files() as held:
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/c")
        held.wait_until_begun()
        dcpcpp.step()
        time.sleep(0.05)
        dcpcpp.step()
        held.release()
        future.result()
    report = dcpcpp.stall_report()
    assert report.saves == before.saves + 1
    assert report.blocked > before.blocked
    assert report.steps_beside_saves >= before.steps_beside_saves + 2
    assert report.step_seconds is not None
    assert report.slowdown_seconds > 0.04


def test_an_async_saves_statistics_and_trace_tell_what_it_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stats = dcpcpp.SaveStats()
    stager = dcpcpp.DefaultStager(IN_BACKGROUND)
    response = dcpcpp.async_save(
        state_of(1.0), checkpoint_id=tmp_path / "c", async_stager=stager, stats=stats
    )
    with dcpcpp.fence():
        pass
    assert isinstance(response, AsyncSaveResponse)
    response.upload_completion.result()
    assert {"call", "fence", "copy", "plan", "fill", "write", "sync", "meet", "commit"} <= set(
        stats.phases
    )
    assert stats.nbytes >= 4 * NUMEL
    assert stats.seconds is not None
    assert all(seconds <= stats.seconds + 0.01 for seconds in stats.phases.values())
    assert f"saved {tmp_path}/c: rank 0 wrote" in caplog.text
    stats.write_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["name"] for event in events} == set(stats.phases)
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
