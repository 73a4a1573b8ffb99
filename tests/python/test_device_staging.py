"""What async_save asks of devices: options, streams, pinned memory."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import logging
import pathlib
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
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


class OnCuda(torch.Tensor):
    """Says that it is on a CUDA device."""

    index = 0

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", self.index)


def on_cuda(index: int) -> torch.Tensor:
    tensor = torch.ones(3).as_subclass(OnCuda)
    tensor.index = index  # type: ignore[attr-defined]
    return tensor


class FakeStream:
    def __init__(self, cuda: FakeCuda, device: int, name: str) -> None:
        self.device = device
        self.name = name
        self._cuda = cuda

    def wait_event(self, event: FakeEvent) -> None:
        self._cuda.log.append(f"{self.name} waits for {event.of}")


class FakeEvent:
    of = "nothing"

    def record(self, stream: FakeStream) -> None:
        self.of = stream.name


class FakeCuda:
    """torch.cuda's devices and streams: what is current in a thread, and who does what.

    As in torch, a thread begins on device 0, and `stream()` leaves by setting the stream that
    was current on the device that was, which makes a context there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.made = 0
        self.contexts: set[int] = set()
        self._current = threading.local()
        for name, value in {
            "is_initialized": lambda: True,
            "current_device": self.current_device,
            "current_stream": self.current_stream,
            "Event": FakeEvent,
            "Stream": self.make_stream,
            "device": self.device,
            "stream": self.stream,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(_devices, "_streams", {})

    def current_device(self) -> int:
        return getattr(self._current, "device", 0)

    def set_device(self, device: int) -> None:
        self._current.device = device

    def current_stream(self, device: int) -> FakeStream:
        self.contexts.add(device)
        streams = self._current.__dict__.setdefault("streams", {})
        return streams.get(device) or FakeStream(self, device, f"the caller's {device}")

    def make_stream(self, device: int) -> FakeStream:
        self.made += 1
        return FakeStream(self, device, f"ours {device}")

    def set_stream(self, stream: FakeStream) -> None:
        self.contexts.add(stream.device)
        self._current.__dict__.setdefault("streams", {})[stream.device] = stream

    @contextlib.contextmanager
    def device(self, device: int) -> Iterator[None]:
        before = self.current_device()
        self.set_device(device)
        yield
        if before in self.contexts:
            self.set_device(before)

    @contextlib.contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before = {self.current_stream(d) for d in (self.current_device(), stream.device)}
        self.set_stream(stream)
        self.log.append(f"in {stream.name}")
        yield
        for earlier in before:
            self.set_stream(earlier)


def in_new_thread(call: Callable[[], None]) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


class WithItems:
    def __create_write_items__(self) -> None: ...


@pytest.mark.parametrize(
    ("state", "devices"),
    [
        ({"a": torch.ones(3), "step": 1, "name": "x"}, []),
        ({"a": on_cuda(3)}, [3]),
        ({"a": [on_cuda(2), (on_cuda(1),)], "b": on_cuda(2)}, [1, 2]),
        (types.MappingProxyType({"a": types.MappingProxyType({"b": on_cuda(3)})}), [3]),
        (collections.UserDict({"a": on_cuda(3)}), [3]),
        ({"a": WithItems()}, [5]),
    ],
)
def test_streams_are_marked_where_tensors_are(
    monkeypatch: pytest.MonkeyPatch, state: Any, devices: list[int]
) -> None:
    fake = FakeCuda(monkeypatch)
    fake.set_device(5)
    mark = _devices.StreamMark(state)

    def copy() -> None:
        with mark.as_current():
            assert [fake.current_stream(d).name for d in devices] == [f"ours {d}" for d in devices]

    in_new_thread(copy)
    assert fake.contexts == set(devices)  # and none on device 0, the thread's own
    expected = [[f"ours {d} waits for the caller's {d}", f"in ours {d}"] for d in devices]
    assert fake.log == [line for lines in expected for line in lines]


def test_all_saves_use_the_same_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch)
    for _ in range(5):
        mark = _devices.StreamMark({"a": on_cuda(1), "b": on_cuda(2)})

        def copy(mark: _devices.StreamMark = mark) -> None:
            with mark.as_current():
                pass

        in_new_thread(copy)
    assert fake.made == 2


def test_an_async_save_marks_streams_in_the_call(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCuda(monkeypatch)
    monkeypatch.setattr(_devices, "_cuda_devices", lambda state: [1] if "w" in state else [])
    recorded = threading.Event()
    begin = _devices.StreamMark.as_current

    def as_current(mark: _devices.StreamMark) -> Any:
        assert recorded.wait(60)
        return begin(mark)

    monkeypatch.setattr(_devices.StreamMark, "as_current", as_current)
    handle = dcpcpp.async_save(
        {"w": ramp(9)}, checkpoint_id=tmp_path, async_stager=dcpcpp.DefaultStager(Options())
    )
    assert fake.contexts == {1}
    assert fake.log == []
    recorded.set()
    handle.upload_completion.result()
    assert fake.log == ["ours 1 waits for the caller's 1", "in ours 1"]


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
        _core.StagingLimit(None, 1.0),
        1,
        dcpcpp.SaveStats().trace,
        None,
        _core.DeviceCopying(True, 0, "batched"),
        copies_first=False,
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
