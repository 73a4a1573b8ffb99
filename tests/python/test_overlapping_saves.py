"""Async saves that overlap: which of them wait, and what they may share."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import pytest
import torch.distributed.checkpoint as stock

import dcpcpp
from dcpcpp._fsspec_storage import FsspecWriter
from support.async_states import state_of, value_in
from support.held_files import held_files

pytestmark = pytest.mark.usefixtures("no_save_is_left")


@pytest.mark.parametrize(("if_busy", "room"), [("wait", 0), ("queue", 1)])
def test_a_save_waits_for_room(
    tmp_path: Path, if_busy: Literal["wait", "queue"], room: int
) -> None:
    def save(number: int) -> Future[Any]:
        return dcpcpp.async_save(
            state_of(float(number)), checkpoint_id=tmp_path / str(number), if_busy=if_busy
        )

    with held_files() as held:
        held_one = dcpcpp.async_save(state_of(0.0), checkpoint_id=f"held://{tmp_path}/held")
        held.wait_until_begun()
        futures = [save(number) for number in range(room)]
        later: Future[Future[Any]] = Future()
        thread = threading.Thread(target=lambda: later.set_result(save(room)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert not any(future.done() for future in [held_one, *futures, later])
        held.release()
        thread.join()
    for number, future in enumerate([*futures, later.result()]):
        future.result()
        assert value_in(tmp_path / str(number)) == number


def test_one_storage_of_somebodys_own_serves_one_save_at_a_time(tmp_path: Path) -> None:
    begun, released = threading.Event(), threading.Event()

    class OwnWriter(stock.FileSystemWriter):
        """With it, torch's protocol writes."""

        def write_data(self, *args: Any) -> Any:
            begun.set()
            assert released.wait(30)
            return super().write_data(*args)

    writer = OwnWriter(tmp_path / "0")
    futures = []
    for number in range(2):
        futures.append(
            dcpcpp.async_save(
                state_of(float(number)),
                checkpoint_id=tmp_path / str(number),
                storage_writer=writer,
            )
        )
        assert begun.wait(30)
        threading.Timer(0.1, released.set).start()
    for future in futures:
        future.result()
    for number in range(2):
        assert value_in(tmp_path / str(number)) == number


def test_one_storage_serves_saves_that_overlap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with held_files() as held:
        writer = FsspecWriter(f"held://{tmp_path}/0")
        futures = []
        for number in range(2):
            futures.append(
                dcpcpp.async_save(
                    state_of(float(number)),
                    checkpoint_id=f"held://{tmp_path}/{number}",
                    storage_writer=writer,
                )
            )
            held.wait_until_begun()
        held.release()
        for future in futures:
            future.result()
    for number in range(2):
        assert value_in(tmp_path / str(number)) == number
        assert f"{tmp_path}/{number}: rank 0 wrote" in caplog.text
