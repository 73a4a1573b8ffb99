"""A small state for tests of planners, and what planners make of it that double tensors."""

from __future__ import annotations

from typing import Any

from support.states import ramp


def state() -> dict[str, Any]:
    return {
        "model": {"w": ramp(40, 30), "b": ramp(7, start=3)},
        "optim": {"m": ramp(5, 4, start=9), "lr": 0.1},
        "step": 7,
    }


def doubled() -> dict[str, Any]:
    expected = state()
    for tensor in (expected["model"]["w"], expected["model"]["b"], expected["optim"]["m"]):
        tensor *= 2
    return expected


KEYS = ["model.w", "model.b", "optim.m", "optim.lr", "step"]
