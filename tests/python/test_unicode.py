"""Names that are text, and names that only look like it: half a surrogate pair."""

from __future__ import annotations

import os
import pathlib

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import ramp, require_equal

HALF = "a\udc80"  # what os.fsdecode makes of the bytes b"a\x80"


def test_keys_of_any_script_go_both_ways(tmp_path: pathlib.Path) -> None:
    state = {"größe": ramp(3), "模型": {"🙂.weight": ramp(2)}, "\x00\n": 1, "": {"": ramp(1)}}
    for number, (saver, loader) in enumerate([(dcpcpp, stock), (stock, dcpcpp)]):
        saver.save(state, checkpoint_id=tmp_path / str(number))
        loaded = {"größe": torch.zeros(3), "模型": {"🙂.weight": torch.zeros(2)}, "\x00\n": 0}
        loaded[""] = {"": torch.zeros(1)}
        loader.load(loaded, checkpoint_id=tmp_path / str(number))
        require_equal(loaded, state)


@pytest.mark.parametrize("state", [{HALF: ramp(2)}, {"m": {HALF: 1}}, {HALF: {"b": ramp(1)}}])
def test_a_key_that_is_no_text_is_refused_by_name(tmp_path: pathlib.Path, state: dict) -> None:
    """Stock torch stores it; nothing that reads text in UTF-8 could name it."""
    stock.save(state, checkpoint_id=tmp_path / "stock")
    name = r"the key '.*a\\udc80.*' is not Unicode text"
    with pytest.raises(dcpcpp.CheckpointException, match=name) as info:
        dcpcpp.save(state, checkpoint_id=tmp_path / "ours")
    assert type(info.value.failures[0][0]) is ValueError
    assert not (tmp_path / "ours").exists()
    dcpcpp.save({"w": ramp(2)}, checkpoint_id=tmp_path / "ours")
    with pytest.raises(dcpcpp.CheckpointException, match=name):
        dcpcpp.load(state, checkpoint_id=tmp_path / "ours")
    with pytest.raises(dcpcpp.CheckpointException, match="not Unicode text"):
        dcpcpp.save({"w": ramp(2)}, checkpoint_id=tmp_path / "renamed", rename={"w": HALF})


def test_a_stored_key_that_is_no_text_is_refused_with_its_file(tmp_path: pathlib.Path) -> None:
    stock.save({HALF: ramp(2), "w": ramp(2)}, checkpoint_id=tmp_path)
    for call in (
        lambda: dcpcpp.open(tmp_path),
        lambda: dcpcpp.load({"w": torch.zeros(2)}, checkpoint_id=tmp_path),
    ):
        with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"\.metadata.*is not UTF-8"):
            call()


def test_no_checkpoint_has_a_key_that_is_no_text(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": ramp(2)}, checkpoint_id=tmp_path)
    checkpoint = dcpcpp.open(tmp_path)
    assert HALF not in checkpoint
    with pytest.raises(KeyError, match=r"no key 'a.+udc80'"):
        checkpoint.get(HALF)
    assert dcpcpp.load_full(tmp_path, HALF) == {}


def test_a_value_that_is_no_text_is_stored(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"name": HALF}, checkpoint_id=tmp_path)
    for loader in (dcpcpp, stock):
        loaded = {"name": ""}
        loader.load(loaded, checkpoint_id=tmp_path)
        assert loaded["name"] == HALF


def test_a_directory_whose_name_is_no_text_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / HALF
    os.mkdir(os.fsencode(directory))  # noqa: PTH102  # bytes
    for call in (
        lambda: dcpcpp.save({"w": ramp(2)}, checkpoint_id=directory),
        lambda: dcpcpp.load({"w": ramp(2)}, checkpoint_id=directory),
        lambda: dcpcpp.open(directory),
        lambda: dcpcpp.verify(directory),
        lambda: dcpcpp.latest(directory),
        lambda: dcpcpp.clean(directory),
    ):
        with pytest.raises(ValueError, match=r"the path '.*a\\udc80' is not Unicode text"):
            call()
