"""Storage that does not answer: the save fails at the deadline, the process goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

import dcpcpp
from dcpcpp import _io_options
from support.scoreboard import ONE_SECOND, report

_DEADLINE = 1.0


class HungFileSystem(MemoryFileSystem):
    """Files in memory; what is written to data files waits for `gate`."""

    protocol = "hung"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in fsspec
    pseudo_dirs = [""]  # noqa: RUF012
    gate = threading.Event()

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "w" in mode and path.endswith(".distcp"):
            write = file.write

            def wait_and_write(data: bytes) -> int:
                self.gate.wait()
                return int(write(data))

            file.write = wait_and_write
        return file


@pytest.fixture
def hung() -> Iterator[type[HungFileSystem]]:
    fsspec.register_implementation("hung", HungFileSystem, clobber=True)
    HungFileSystem.gate.set()
    yield HungFileSystem
    HungFileSystem.gate.set()


@pytest.mark.row("R15")
def test_a_write_that_hangs_becomes_an_error_and_the_next_save_works(
    hung: type[HungFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(value: float) -> None:
        writer = dcpcpp.FsspecWriter("hung://ckpt")
        dcpcpp.save({"w": torch.full((1000,), value)}, storage_writer=writer)

    def load() -> float:
        state = {"w": torch.zeros(1000)}
        dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader("hung://ckpt"))
        return float(state["w"][0])

    save(1.0)
    monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", str(_DEADLINE))
    hung.gate.clear()
    begin = time.monotonic()
    with pytest.raises(dcpcpp.CheckpointException, match="the storage does not answer") as caught:
        save(2.0)
    elapsed = time.monotonic() - begin
    assert _DEADLINE <= elapsed < _DEADLINE + ONE_SECOND
    assert isinstance(caught.value.failures[0][0], TimeoutError)
    assert ".distcp" in str(caught.value)
    assert load() == 1.0
    hung.gate.set()
    save(3.0)
    assert load() == 3.0
    report("R15", "from Python: a write to an fsspec file system hangs", count=1, bad=0, seed=0)


def test_the_timeout_is_a_number_of_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _io_options.storage_timeout() == 300
    for good in ("0", "1", "86400", "2.5"):
        monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", good)
        assert _io_options.storage_timeout() == float(good)
    for bad in ("soon", "", "-1", "0.5", "86401", "nan", "inf"):
        monkeypatch.setenv("DCPCPP_STORAGE_TIMEOUT", bad)
        with pytest.raises(ValueError, match="DCPCPP_STORAGE_TIMEOUT must be 0, or from 1 to"):
            dcpcpp.FileSystemWriter(tmp_path)
