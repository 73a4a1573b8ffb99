"""A state, and what tells who saved and loaded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver


def make_state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "model": {"w": torch.rand(300, 400), "b": torch.rand(7).to(torch.bfloat16)},
        "step": 7,
    }


def make_template() -> dict[str, Any]:
    return {
        "model": {"w": torch.zeros(300, 400), "b": torch.zeros(7, dtype=torch.bfloat16)},
        "step": 0,
    }


def assert_loaded(state: dict[str, Any]) -> None:
    expected = make_state()
    assert torch.equal(state["model"]["w"], expected["model"]["w"])
    assert torch.equal(state["model"]["b"], expected["model"]["b"])
    assert state["step"] == 7


def is_ours(directory: Path) -> bool:
    """Whether libdcp published the checkpoint: only it writes checksums."""
    return bool(list(directory.glob(".dcpcpp-*")))


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of torch's protocol functions, in the order they were called."""
    called: list[str] = []

    def note(module: Any, name: str) -> None:
        original = getattr(module, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    note(state_dict_saver, "_save_state_dict")
    note(state_dict_loader, "_load_state_dict")
    return called
