"""Flat keys and paths: torch's rules, compared with torch's own code."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint import _nested_dict, _traverse

import dcpcpp
from dcpcpp import _state_dict
from support.states import blank, ramp, require_equal, require_same_meaning

_KEYS = st.one_of(st.text("ab.0", min_size=1, max_size=3), st.integers(0, 2))
_LEAVES = st.one_of(
    st.none(),
    st.integers(0, 9),
    st.text("xy", max_size=2),
    st.builds(lambda n: torch.zeros(n), st.integers(0, 2)),
)
_STATES = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=2).map(tuple),
            st.dictionaries(_KEYS, inner, max_size=3),
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def _torch_flatten_v2_3(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    leaves: dict[str, Any] = {}
    paths: dict[str, Any] = {}

    def visit(path: tuple[Any, ...], value: Any) -> None:
        key = ".".join(map(str, path))
        if key in leaves:
            raise ValueError(f"duplicated flatten key {key}")
        leaves[key], paths[key] = value, path

    _traverse.traverse_state_dict_v_2_3(state, visit)
    return leaves, paths


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (_state_dict.flatten, _nested_dict.flatten_state_dict),
        (_state_dict.flatten_v2_3, _torch_flatten_v2_3),
    ],
    ids=["today", "2.3"],
)
@settings(deadline=None, max_examples=300)
@given(state=_STATES)
def test_keys_paths_and_leaves_are_torchs(ours, theirs, state) -> None:
    try:
        leaves, paths = theirs(state)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            ours(state, lambda value: isinstance(value, torch.Tensor))
        return
    flat = ours(state, lambda value: isinstance(value, torch.Tensor))
    assert list(flat.leaves) == list(leaves)
    assert all(flat.leaves[key] is leaves[key] for key in leaves)
    assert flat.paths == paths


@settings(deadline=None, max_examples=200)
@given(state=_STATES)
def test_elements_set_by_path_build_what_torch_builds(state) -> None:
    try:
        leaves, paths = _nested_dict.flatten_state_dict(state)
        expected = _nested_dict.unflatten_state_dict(leaves, paths)
    except (ValueError, TypeError, AttributeError):
        return  # two leaves with one key, or a path through a leaf
    if any(path[:n] in paths.values() for path in paths.values() for n in range(len(path))):
        return  # where torch replaces what is there
    built: dict[str, Any] = {}
    for key, value in leaves.items():
        _state_dict.set_element(built, paths[key], value)
    require_equal(built, expected)


def nested_state() -> dict[str, Any]:
    return {
        "model": {
            "layers": [{"weight": ramp(2, 2)}, {"weight": ramp(2, 2, start=4)}],
            "config": {"hidden": 2, "name": "tiny", 3: "int key", "empty": {}, "none": None},
            "mixed": [1, ramp(3), "text", [ramp(1), 2]],
            "plain_list": [1, "a", [2]],
            "tuple": (ramp(1), 2),
        },
        "step": 7,
        "dotted.key": ramp(1),
    }


@pytest.mark.parametrize("saver", [stock.save, dcpcpp.save], ids=["stock", "ours"])
def test_nested_states_travel_both_ways(saver, tmp_path: pathlib.Path) -> None:
    state = nested_state()
    saver(state, checkpoint_id=tmp_path)
    for loader in (dcpcpp.load, stock.load):
        loaded = blank(state)
        loader(loaded, checkpoint_id=tmp_path)
        if loader is stock.load:
            config = loaded["model"]["config"]
            config[3] = config.pop("3")  # torch puts what belongs to 3 beside it
            loaded["model"]["config"] = {key: config[key] for key in state["model"]["config"]}
        require_equal(loaded, state)
    metadata = dcpcpp.FileSystemReader(tmp_path).read_metadata()
    reference = tmp_path / "reference"
    require_same_meaning(metadata, stock.save(state, checkpoint_id=reference))


def test_objects_under_integer_keys_are_loaded_in_place(tmp_path: pathlib.Path) -> None:
    """torch puts them beside, under the key's text."""
    state = {"state": {0: {"count": 5, "sum": ramp(2)}, 1: {"count": 6, "sum": ramp(2)}}, 7: "x"}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    loaded = blank(state)
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state)


@pytest.mark.parametrize("flatten", [True, False])
def test_planners_choose_whether_keys_are_flattened(flatten: bool, tmp_path: pathlib.Path) -> None:
    state = {"a": ramp(2), "b": {"c": 1, "d": ramp(2)}, "e": [1, ramp(1)]}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save_planner = stock.DefaultSavePlanner(flatten_state_dict=flatten)
    dcpcpp.save(state, checkpoint_id=ours, planner=save_planner)
    stock.save(state, checkpoint_id=theirs, planner=save_planner)
    reader = stock.FileSystemReader(ours)
    require_same_meaning(reader.read_metadata(), stock.FileSystemReader(theirs).read_metadata())
    # With flatten_sharded_tensors, torch would fill a copy of an unflattened state dict.
    load_planner = stock.DefaultLoadPlanner(
        flatten_state_dict=flatten, flatten_sharded_tensors=False
    )
    for path, loader in ((ours, stock.load), (theirs, dcpcpp.load)):
        loaded = blank(state) if flatten else {"a": torch.zeros(2), "b": None, "e": None}
        loader(loaded, checkpoint_id=path, planner=load_planner)
        require_equal(loaded, state)


def test_keys_that_fall_together_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(dcpcpp.CheckpointException, match=r"duplicated flatten key a\.b"):
        dcpcpp.save({"a": {"b": 1}, "a.b": 2}, checkpoint_id=tmp_path)


def test_a_checkpoint_with_the_keys_of_torch_2_3_fills_a_template_of_today(
    golden: pathlib.Path,
) -> None:
    path = golden / "torch-2.3.1-py3.11" / "nested"
    keys = set(dcpcpp.open(path).keys())
    assert "model.config" in keys, "torch 2.3 keeps a dict without tensors whole"
    state = {
        "model": {
            "layers": [{"weight": torch.zeros(2, 2)}, {"weight": torch.zeros(2, 2)}],
            "config": {"hidden": 0, "name": "", 3: ""},
            "mixed": [0, torch.zeros(3), ""],
            "tuple": (),
        },
        "step": 0,
        "dotted.key": torch.zeros(1),
    }
    dcpcpp.load(state, checkpoint_id=path)
    assert state["model"]["config"] == {"hidden": 2, "name": "tiny", 3: "int key"}
    assert torch.equal(state["model"]["layers"][1]["weight"], ramp(2, 2, start=4))
    require_equal(state["model"]["mixed"], [1, ramp(3), "text"])
    assert state["step"] == 7


def test_an_empty_state_is_a_checkpoint_too(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({}, checkpoint_id=tmp_path)
    stock.load({}, checkpoint_id=tmp_path)
    dcpcpp.load({}, checkpoint_id=tmp_path)
    assert list(dcpcpp.open(tmp_path)) == []
