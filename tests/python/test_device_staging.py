"""What async_save asks of devices: options, streams, pinned memory."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import dcpcpp
from dcpcpp import _core, _devices
from support.states import ramp

ROOT = pathlib.Path(__file__).parents[2]
HAS_CUDA = torch.cuda.is_available()
ON_CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not HAS_CUDA, reason="NO GPU TESTED: there is none")
)


class Options(dcpcpp.StagingOptions):
    """In the background, pinned where there is a device."""

    def __init__(self) -> None:
        super().__init__(True, False, True, False)


@pytest.mark.parametrize("device", ["cpu", ON_CUDA])
@pytest.mark.parametrize("method", ["batched", "packed"])
def test_what_is_staged_is_what_was_there_at_the_call(
    tmp_path: pathlib.Path, device: str, method: Any
) -> None:
    state = {f"{i}": ramp(1000 + i).to(device) for i in range(300)}
    stager = dcpcpp.DefaultStager(Options(), device_copies=method, max_copy_rate=1 << 34)
    dcpcpp.prewarm(state, stager)
    handle = dcpcpp.async_save(state, checkpoint_id=tmp_path, async_stager=stager)
    handle.wait_staged()
    for tensor in state.values():
        tensor.zero_()
    handle.upload_completion.result()
    loaded = {name: torch.empty_like(tensor) for name, tensor in state.items()}
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    for i in range(300):
        assert torch.equal(loaded[f"{i}"].cpu(), ramp(1000 + i))


@pytest.mark.skipif(not HAS_CUDA, reason="NO GPU TESTED: there is none")
def test_a_copy_comes_before_work_that_the_caller_adds_later(tmp_path: pathlib.Path) -> None:
    state = {"w": ramp(1 << 20).cuda()}
    handle = dcpcpp.async_save(
        state, checkpoint_id=tmp_path, async_stager=dcpcpp.DefaultStager(Options())
    )
    torch.cuda._sleep(1 << 31)  # a step
    handle.wait_staged()
    assert not torch.cuda.current_stream().query()
    handle.upload_completion.result()


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_copy_rate is bytes in a second"):
        dcpcpp.DefaultStager(max_copy_rate=0)
    with pytest.raises(ValueError, match='copy_method is "batched" or "packed"'):
        dcpcpp.DefaultStager(device_copies="zipped")  # type: ignore[arg-type]


class FakeCuda:
    """torch.cuda's streams, noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        log = self.log

        class Stream:
            def __init__(self, device: int) -> None:
                self.device = device

            def wait_stream(self, other: str) -> None:
                log.append(f"{self.device} waits for {other}")

        @contextlib.contextmanager
        def stream(of: Stream) -> Iterator[None]:
            log.append(f"in {of.device}")
            yield
            log.append(f"out of {of.device}")

        for name, value in {
            "is_initialized": lambda: True,
            "current_device": lambda: 0,
            "current_stream": lambda device: f"the caller's {device}",
            "Stream": Stream,
            "stream": stream,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_streams_are_marked_in_the_caller_and_entered_by_the_copy(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCuda(monkeypatch)
    mark = _devices.StreamMark({"a": [torch.ones(3)], "step": 1})
    assert fake.log == ["0 waits for the caller's 0"]
    with mark.as_current():
        assert fake.log[1:] == ["in 0"]
    assert fake.log[2:] == ["out of 0"]

    handle = dcpcpp.async_save(
        {"w": ramp(9)}, checkpoint_id=tmp_path, async_stager=dcpcpp.DefaultStager(Options())
    )
    assert "0 waits for the caller's 0" in fake.log[3:]
    handle.upload_completion.result()
    assert fake.log[4:] == ["in 0", "out of 0"]


def test_memory_that_is_not_pinned_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Staged:
        pin_error = ""

    monkeypatch.setattr(_devices, "_has_warned", False)
    staged: Any = Staged()
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        _devices.warn_if_pageable(staged)
        assert not caplog.records
        staged.pin_error = "cuMemHostRegister: out of memory (2)"
        for _ in range(3):
            _devices.warn_if_pageable(staged)
    (record,) = caplog.records
    assert "cuMemHostRegister: out of memory (2)" in record.getMessage()


def test_a_cpu_state_needs_no_pinned_memory() -> None:
    entries = _core.SaveEntries(())
    staged = _core.StagedState(
        entries,
        None,
        None,
        1,
        dcpcpp.SaveStats().trace,
        None,
        _core.DeviceCopying(True, 0, "batched"),
    )
    staged.wait_staged(None)
    assert staged.pin_error == ""


def test_the_configuration_says_whether_the_kernel_is_in() -> None:
    from dcpcpp._config import config

    assert config()["pack kernel"].startswith(("built in", "not built"))


@pytest.mark.skipif(HAS_CUDA, reason="there is a device to measure")
def test_the_benchmark_says_what_it_needs() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gpu/async_cuda.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "a CUDA device" in run.stderr
