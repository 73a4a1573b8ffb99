"""Tensors in device memory, beside the same in the CPU's."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import blank, ramp, require_equal

HAS_CUDA = torch.cuda.is_available()
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not HAS_CUDA, reason="NO GPU TESTED: there is none")
    ),
]


def on(device: str, value: Any) -> Any:
    """`value` with its tensors moved; strides stay."""
    if isinstance(value, dict):
        return {key: on(device, item) for key, item in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    moved = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=device)
    return moved.copy_(value)


def state() -> dict[str, Any]:
    return {
        "large": torch.arange(10 << 20, dtype=torch.int32),  # many blocks
        "half": ramp(33, 7).bfloat16(),
        "transposed": ramp(64, 48).t(),
        "columns": ramp(9, 40)[:, 3:30],
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "flags": torch.tensor([True, False, True]),
        "complex": torch.complex(ramp(5), ramp(5, start=5)),
        "empty": torch.empty(0, 3),
        "step": 7,
    }


@pytest.mark.parametrize("device", DEVICES)
def test_device_tensors_go_both_ways(tmp_path: pathlib.Path, device: str) -> None:
    dcpcpp.save(on(device, state()), checkpoint_id=tmp_path / "ours")
    stock.save(on(device, state()), checkpoint_id=tmp_path / "stock")
    for saver, loader in (("ours", stock), ("ours", dcpcpp), ("stock", dcpcpp)):
        loaded = on(device, blank(state()))
        loader.load(loaded, checkpoint_id=tmp_path / saver)
        assert loaded["large"].device.type == device
        require_equal(on("cpu", loaded), state())


@pytest.mark.parametrize("device", DEVICES)
def test_values_that_a_stream_is_still_computing_are_waited_for(
    tmp_path: pathlib.Path, device: str
) -> None:
    value = torch.ones(2048, 2048, device=device)
    # Each step is another value, exact in float32: none can be taken for the last one.
    for _ in range(20):
        value = (value @ torch.ones_like(value)).div_(1024)
    dcpcpp.save({"w": value}, checkpoint_id=tmp_path)
    loaded = {"w": torch.zeros(2048, 2048, device=device)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    # What comes after the load on the stream sees what was loaded.
    assert bool((loaded["w"] == 2.0**20).all())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_device_tensors_are_exported_and_cast(
    tmp_path: pathlib.Path, device: str, compression: str | None
) -> None:
    dcpcpp.save(
        {"w": ramp(300, 70).to(device)},
        checkpoint_id=tmp_path,
        export_dtype=torch.float16,
        compression=compression,
    )
    loaded = {"w": torch.zeros(300, 70, device=device)}
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded["w"].cpu(), ramp(300, 70).half().float())
