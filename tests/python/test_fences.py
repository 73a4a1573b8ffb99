"""Fences: what waits for copies, in any thread, whatever becomes of them."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.api import CheckpointException as TorchCheckpointException
from torch.distributed.checkpoint.staging import BlockingAsyncStager

import dcpcpp
from dcpcpp import _staged
from support.async_states import IN_BACKGROUND, state_of, value_in

pytestmark = pytest.mark.usefixtures("no_save_is_left")


def test_another_fence_may_have_waited_for_the_copy() -> None:
    in_progress = _staged._InProgress()

    class Copies(list[Any]):
        """Where the lock is free, another thread's fence ends after each look."""

        def __bool__(self) -> bool:
            has_some = len(self) > 0
            if in_progress._mutex.acquire(blocking=False):
                self.clear()
                in_progress._mutex.release()
            return has_some

    copying = _staged.Copying(lambda: Staged(), Future(), dcpcpp.SaveStats(), None)
    copying.done.result()
    in_progress._staged = Copies([copying])
    in_progress.wait()
    assert not list(in_progress._staged)


class Staged:
    """A copy that is there."""

    def wait_staged(self, timeout: float | None) -> bool:
        return True


@pytest.mark.parametrize("kind", dcpcpp.AsyncCheckpointerType)
@pytest.mark.parametrize("limit", [None, 0], ids=["copied", "streamed"])
@pytest.mark.parametrize("is_fenced", [True, False], ids=["fence", "no_fence"])
def test_a_step_gets_into_the_checkpoint_without_the_fence_and_not_with_it(
    tmp_path: Path, kind: dcpcpp.AsyncCheckpointerType, limit: int | None, is_fenced: bool
) -> None:
    state = {"w": torch.ones(1000)}
    may_copy = threading.Event()
    _staged._staging_thread.submit(may_copy.wait, 20)  # no copy begins before
    response = dcpcpp.async_save(
        state,
        checkpoint_id=tmp_path / "c",
        async_checkpointer_type=kind,
        async_stager=dcpcpp.DefaultStager(IN_BACKGROUND, max_staging_bytes=limit),
    )
    if is_fenced:
        threading.Timer(0.02, may_copy.set).start()
        with dcpcpp.fence():
            state["w"].fill_(2.0)
    else:
        state["w"].fill_(2.0)
        may_copy.set()
    response.upload_completion.result()
    loaded = {"w": torch.zeros(1000)}
    stock.load(loaded, checkpoint_id=tmp_path / "c", no_dist=True)
    assert loaded["w"].unique().tolist() == [1.0 if is_fenced else 2.0]


def test_a_copy_that_fails_does_not_fail_the_step(tmp_path: Path) -> None:
    class Stager(BlockingAsyncStager):
        def stage(self, state_dict: dict[str, Any]) -> Any:
            copy: Future[dict[str, Any]] = Future()
            copy.set_exception(TorchCheckpointException("no copy", {}))  # a BaseException
            return copy

    response = dcpcpp.async_save(state_of(1.0), checkpoint_id=tmp_path / "c", async_stager=Stager())
    for _ in range(2):
        with dcpcpp.fence():
            pass
    with pytest.raises(TorchCheckpointException):
        response.upload_completion.result()


def test_a_copy_that_had_no_thread_does_not_hold_up_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("dcpcpp-staging"):
            raise RuntimeError("can't start new thread")
        start(self)

    stager = dcpcpp.DefaultStager(IN_BACKGROUND, max_staging_bytes=0)
    _staged._replace_staging_thread()  # it has no thread yet
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            dcpcpp.async_save(state_of(1.0), checkpoint_id=tmp_path / "c", async_stager=stager)
    response = dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "c", async_stager=stager)
    assert response.wait_staged(20)
    response.upload_completion.result()
    assert value_in(tmp_path / "c") == 2.0
