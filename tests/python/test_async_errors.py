"""Errors of async saves: logged at once, and raised where nobody can miss them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import dcpcpp
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


def fail_in_background(tmp_path: Path) -> Future[Any]:
    """An async save whose storage fails."""
    with held_files() as held:
        held.error = OSError(28, "No space left on device")
        future = dcpcpp.async_save(state_of(1.0), checkpoint_id=f"held://{tmp_path}/failing")
        held.release()
        while not future.done():
            time.sleep(0.001)
    return future
