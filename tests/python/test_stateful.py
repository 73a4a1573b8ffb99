"""Objects that keep a state: when they are asked for it, and given one."""

from __future__ import annotations

import pathlib
from typing import Any

import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import blank, ramp, require_equal


class Counter:
    """A Stateful that keeps what it was given."""

    def __init__(self) -> None:
        self.state = {"count": 3, "sums": ramp(4), "nested": {"name": "x", "list": [ramp(2), 1]}}
        self.loaded: dict[str, Any] | None = None
        self.calls: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        self.calls.append("state_dict")
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls.append("load_state_dict")
        self.loaded = state


def test_stateful_objects_are_saved_and_filled(tmp_path: pathlib.Path) -> None:
    source, plain = Counter(), ramp(2)
    dcpcpp.save({"counter": source, "plain": plain}, checkpoint_id=tmp_path / "ours")
    stock.save({"counter": source, "plain": plain}, checkpoint_id=tmp_path / "theirs")
    for path, loader in (("ours", stock.load), ("ours", dcpcpp.load), ("theirs", dcpcpp.load)):
        target = Counter()
        target.state = blank(source.state)
        state = {"counter": target, "plain": torch.zeros(2)}
        loader(state, checkpoint_id=tmp_path / path)
        assert state["counter"] is target, "a Stateful object stays in its place"
        assert target.calls == ["state_dict", "load_state_dict"]
        require_equal(target.loaded, source.state)
        require_equal(state["plain"], plain)


class Noting(dict[str, Any]):
    """A state dict that notes what is put into it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.put: list[str] = []

    def __setitem__(self, key: str, value: Any) -> None:
        self.put.append(key)
        super().__setitem__(key, value)


class Asked(Counter):
    """Notes its name when it is asked for its state, and when it is given one."""

    def __init__(self, name: str, asked: list[str]) -> None:
        super().__init__()
        self.name, self.asked = name, asked

    def state_dict(self) -> dict[str, Any]:
        self.asked.append(f"of {self.name}")
        return super().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked.append(f"to {self.name}")
        super().load_state_dict(state)


def test_a_load_asks_and_puts_in_the_order_of_keys_as_torch(tmp_path: pathlib.Path) -> None:
    """On all ranks the same: the objects may have collectives."""
    names = ("b", "c", "a")
    saved = {name: Asked(name, []) for name in names} | {"z": 1, "x": ramp(2)}
    dcpcpp.save(saved, checkpoint_id=tmp_path)
    for library in (stock, dcpcpp):
        asked: list[str] = []
        state = Noting({name: Asked(name, asked) for name in names} | {"z": 0, "x": torch.zeros(2)})
        library.load(state, checkpoint_id=tmp_path)
        assert asked == ["of a", "of b", "of c", "to a", "to b", "to c"]
        assert state.put == ["x", "z"], "what is no Stateful is put back"
        assert state["z"] == 1


def test_only_objects_at_the_top_are_asked_for_their_state(tmp_path: pathlib.Path) -> None:
    inner = Counter()
    dcpcpp.save({"outer": {"inner": inner}}, checkpoint_id=tmp_path)
    assert inner.calls == []
    assert dcpcpp.open(tmp_path).keys() == ["outer.inner"]
