"""Errors of async saves: logged at once, and raised where nobody can miss them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import dcpcpp
from dcpcpp import _save_queue
from dcpcpp._save_queue import SaveFuture, SaveQueue
from support.async_states import IN_BACKGROUND, state_of, value_in
from support.held_files import held_files

pytestmark = pytest.mark.usefixtures("no_save_is_left")


def test_an_error_is_logged_and_raised_by_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fail_in_background(tmp_path)
    deadline = time.monotonic() + 60
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "No space left" in caplog.text
    with pytest.raises(dcpcpp.CheckpointException, match="No space left"):
        dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "d")
    dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "d").result()
    assert value_in(tmp_path / "d") == 2.0


CALLS: dict[str, Callable[[Path], Any]] = {
    "save": lambda path: dcpcpp.save(state_of(2.0), checkpoint_id=path),
    "flush": lambda path: dcpcpp.flush(),
    "close": lambda path: dcpcpp.DefaultStager(IN_BACKGROUND).close(),
}


@pytest.mark.parametrize("call", list(CALLS))
def test_an_error_that_nobody_saw_is_raised(
    tmp_path: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    fail_in_background(tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="No space left"):
        CALLS[call](tmp_path / "d")
    dcpcpp.save(state_of(2.0), checkpoint_id=tmp_path / "d")


def test_an_error_that_the_future_told_is_not_raised_again(tmp_path: Path) -> None:
    future = fail_in_background(tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="No space left"):
        future.result()
    dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "d").result()


def test_an_error_that_comes_as_the_wait_for_it_ends_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = SaveFuture()

    def give_up(self: SaveFuture, timeout: float | None = None) -> None:
        self.set_exception(OSError(28, "No space left on device"))
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", give_up)
        with pytest.raises(TimeoutError):
            future.result(0.1)
    assert isinstance(future.unseen_error(), OSError)
    assert future.unseen_error() is None


def test_an_error_is_raised_as_soon_as_its_save_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the queue's thread has not put it away."""
    set_exception = Future.set_exception

    def end_slowly(self: Future[Any], error: BaseException | None) -> None:
        set_exception(self, error)
        time.sleep(0.2)

    monkeypatch.setattr(Future, "set_exception", end_slowly)
    fail_in_background(tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="No space left"):
        CALLS["close"](tmp_path)


def test_without_a_thread_the_call_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "dcpcpp-async-save":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(_save_queue, "_queue", SaveQueue())  # it has no thread yet
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=tmp_path / "c")
        assert future.done()
    assert value_in(tmp_path / "c") == 1.0
    dcpcpp.async_save(state_of(2.0), checkpoint_id=tmp_path / "c").result()
    assert value_in(tmp_path / "c") == 2.0


def fail_in_background(tmp_path: Path) -> Future[Any]:
    """An async save whose storage fails."""
    with held_files() as held:
        held.error = OSError(28, "No space left on device")
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/failing")
        held.release()
        while not future.done():
            time.sleep(0.001)
    return future
