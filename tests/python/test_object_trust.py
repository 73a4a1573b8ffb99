"""Objects in a checkpoint: plain data loads, other classes only where the caller says so."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import datetime
import io
import os
import pathlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from dcpcpp import _objects, _plain_unpickler


class Config:
    """A class of the trainer's own."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and other.rate == self.rate

    __hash__ = None  # type: ignore[assignment]


HARMLESS: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": 1 << 70,
    "float": float("inf"),
    "complex": 1j,
    "str": "grüße",
    "bytes": b"\0\xff",
    "tuple": (1, ("a", 2.0), [3]),
    "list": [1, "two", None],
    "set": {1, 2},
    "ordered": collections.OrderedDict(a=1),
    "counter": collections.Counter("aab"),
    "namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
    "timedelta": datetime.timedelta(seconds=5),
    "path": pathlib.PurePosixPath("/a/b"),
    "numpy": np.float64(2.5),
    "dtype": torch.bfloat16,
    "size": torch.Size([2, 3]),
}


def test_plain_data_loads_without_being_trusted(tmp_path: Path) -> None:
    dcpcpp.save({"o": (HARMLESS,)}, checkpoint_id=tmp_path / "c")
    state: dict[str, Any] = {"o": None}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert state["o"] == (HARMLESS,)
    assert {k: type(v) for k, v in state["o"][0].items()} == {
        k: type(v) for k, v in HARMLESS.items()
    }


def test_arrays_of_numpy_load_without_being_trusted(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    stock.save({"rng": array}, checkpoint_id=tmp_path / "c")
    state = {"rng": np.zeros(1)}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert state["rng"].dtype == array.dtype
    assert np.array_equal(state["rng"], array)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (list, (range(10**12),))


def test_few_bytes_do_not_unfold_into_all_of_the_memory(tmp_path: Path) -> None:
    dcpcpp.save({"o": _Bomb()}, checkpoint_id=tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match=r"builtins\.range"):
        dcpcpp.load({"o": None}, checkpoint_id=tmp_path)


def test_another_class_is_refused_by_name_and_the_state_is_left_alone(tmp_path: Path) -> None:
    dcpcpp.save({"config": Config(0.5), "step": 3}, checkpoint_id=tmp_path / "c")
    state: dict[str, Any] = {"config": None, "step": 0}
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert info.value.args[0] == "read"
    with pytest.raises(pickle.UnpicklingError) as refusal:
        raise info.value.failures[0][0]
    for text in ("'config'", "test_object_trust.Config", "allow_pickle=True", "add_safe_globals"):
        assert text in str(refusal.value)
    assert state == {"config": None, "step": 0}


def test_containers_with_something_in_them_load_without_being_trusted(tmp_path: Path) -> None:
    """Torch's restricted unpickler appends to lists only and sets items of few mappings."""
    counts: collections.defaultdict[str, Any] = collections.defaultdict(list, a=[1])
    counts["self"] = counts
    value = {
        "deque": collections.deque([1, "two", torch.ones(2)], maxlen=5),
        "defaultdict": counts,
        "nested": [collections.defaultdict(int, {1: 2}), collections.deque(["x"])],
        "bytes": io.BytesIO(b"state"),
        "array": np.arange(3),
    }
    for name, library in (("ours", dcpcpp), ("stock", stock)):
        library.save({"o": (value,)}, checkpoint_id=tmp_path / name)
        (loaded,) = dcpcpp.open(tmp_path / name).get("o")
        assert loaded["deque"].maxlen == 5
        assert [*loaded["deque"]][:2] == [1, "two"]
        assert torch.equal(loaded["deque"][2], torch.ones(2))
        assert loaded["defaultdict"]["a"] == [1]
        assert loaded["defaultdict"]["self"] is loaded["defaultdict"]
        assert loaded["defaultdict"].default_factory is list
        assert loaded["nested"] == value["nested"]
        assert loaded["bytes"].getvalue() == b"state"
        assert np.array_equal(loaded["array"], value["array"])


def _calls(function: Any, *arguments: Any) -> Any:
    class Hostile:
        def __reduce__(self) -> Any:
            return (function, arguments)

    return Hostile()


HOSTILE: dict[str, Callable[[], Any]] = {
    "a function of os": lambda: _calls(os.system, "touch {file}"),
    "a builtin": lambda: _calls(eval, "open('{file}', 'w')"),
    "a class that is not listed": lambda: Config(0.5),
    "items of another class": lambda: collections.UserDict(a=1),
    "a factory": lambda: collections.defaultdict(os.getpid, a=1),
    "a method of a listed class": lambda: _calls(pathlib.PurePosixPath("/").joinpath, "x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_hides_behind_a_deque_is_refused(tmp_path: Path, case: str) -> None:
    dcpcpp.save({"o": collections.deque([HOSTILE[case]()])}, checkpoint_id=tmp_path / "c")
    with pytest.raises(pickle.UnpicklingError, match="allow_pickle=True"):
        dcpcpp.open(tmp_path / "c").get("o")


@pytest.mark.parametrize(
    ("opcodes", "why"),
    [
        pytest.param(b"ctorch.nn\nParameter\n}b.", "Unsupported", id="another name"),
        pytest.param(b"ccollections\ndeque\n}b.", "gives type a state", id="state of a class"),
        pytest.param(b"ctorch\nfloat32\n)R.", "calls", id="a call of what is no function"),
        pytest.param(
            b"ctorch._utils\n_rebuild_tensor\n(K\1u.", "adds to", id="items of a function"
        ),
        pytest.param(b"(lp0\n.", "opcode", id="an opcode of old"),
        pytest.param(b"(ios\nsystem\n.", "opcode", id="INST"),
        pytest.param(b"ccollections\ndeque\n", "EOFError", id="cut off"),
    ],
)
def test_hostile_opcodes_are_refused(opcodes: bytes, why: str) -> None:
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    pickled = b"\x80\x02" + opcodes
    writer.write_record("data.pkl", pickled, len(pickled))
    writer.write_record("byteorder", b"little", 6)
    writer.write_end_of_file()
    with (
        torch.serialization.safe_globals([collections.deque]),
        pytest.raises(pickle.UnpicklingError, match=why),
    ):
        _plain_unpickler.load(buffer.getvalue())


def test_torchscript_is_no_plain_data() -> None:
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    writer.write_record("constants.pkl", b"\x80\x02).", 4)
    writer.write_end_of_file()
    with pytest.raises(pickle.UnpicklingError, match="TorchScript"):
        _plain_unpickler.load(buffer.getvalue())


def test_another_class_loads_where_the_caller_allows_it(tmp_path: Path) -> None:
    dcpcpp.save({"config": Config(0.5)}, checkpoint_id=tmp_path / "c")
    state: dict[str, Any] = {"config": None}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c", allow_pickle=True)
    assert state["config"] == Config(0.5)
    assert dcpcpp.open(tmp_path / "c").get("config", allow_pickle=True) == Config(0.5)
    assert dcpcpp.load_full(tmp_path / "c", allow_pickle=True) == {"config": Config(0.5)}
    for refused in (dcpcpp.load_full, lambda path: dcpcpp.open(path)["config"]):
        with pytest.raises(pickle.UnpicklingError, match="allow_pickle=True"):
            refused(tmp_path / "c")


def test_a_registered_class_loads(tmp_path: Path) -> None:
    dcpcpp.save({"config": Config(0.5)}, checkpoint_id=tmp_path / "c")
    state: dict[str, Any] = {"config": None}
    with torch.serialization.safe_globals([Config]):
        dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert state["config"] == Config(0.5)


def test_our_list_of_harmless_classes_does_not_stay_registered(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    dcpcpp.save({"o": argparse.Namespace(a=1)}, checkpoint_id=tmp_path / "c")
    dcpcpp.load({"o": None}, checkpoint_id=tmp_path / "c")
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_the_user_registered_stays_registered(tmp_path: Path) -> None:
    classes = [datetime.datetime, set]
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(classes)
    try:
        dcpcpp.save({"o": datetime.datetime(2026, 1, 1)}, checkpoint_id=tmp_path / "c")
        dcpcpp.load({"o": None}, checkpoint_id=tmp_path / "c")
        assert set(classes) <= set(torch.serialization.get_safe_globals())
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_threads_decode_side_by_side(tmp_path: Path) -> None:
    state = {"o": [datetime.datetime(2026, 1, 1), collections.deque([1])]}
    dcpcpp.save(state, checkpoint_id=tmp_path / "c")

    def load(_: int) -> Any:
        return dcpcpp.load_full(tmp_path / "c")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(load, range(100))) == [state] * 100


def test_a_damaged_object_is_corruption_even_where_pickle_is_allowed(tmp_path: Path) -> None:
    dcpcpp.save({"config": Config(0.5)}, checkpoint_id=tmp_path / "c")
    path = tmp_path / "c" / "__0_0.distcp"
    data = bytearray(path.read_bytes())
    data[data.index(b"Config")] ^= 1
    path.write_bytes(data)
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="key config"):
        dcpcpp.load({"config": None}, checkpoint_id=tmp_path / "c", allow_pickle=True)


def trusting_load(path: Path, **arguments: Any) -> Any:
    state: dict[str, Any] = {"o": None}
    dcpcpp.load(state, checkpoint_id=path, **arguments)
    return state["o"]


def test_trust_is_given_to_a_call_a_block_or_the_process(tmp_path: Path) -> None:
    config = Config(0.5)
    dcpcpp.save({"o": config}, checkpoint_id=tmp_path)
    refused = pytest.raises(dcpcpp.CheckpointException, match="allow_pickle=True")
    with refused:
        trusting_load(tmp_path)
    assert trusting_load(tmp_path, allow_pickle=True) == config
    with dcpcpp.options(allow_pickle=True):
        assert trusting_load(tmp_path) == config
        assert dcpcpp.open(tmp_path).get("o") == config
        with refused:
            trusting_load(tmp_path, allow_pickle=False)
    with refused:
        trusting_load(tmp_path)
    with dcpcpp.patch_torch(allow_pickle=True):
        assert trusting_load(tmp_path) == config
        with refused, dcpcpp.options(allow_pickle=False):
            trusting_load(tmp_path)
    with refused:
        trusting_load(tmp_path)


@pytest.mark.parametrize("save", [dcpcpp.save, stock.save])  # the latter: torch's protocol
def test_a_save_warns_once_of_what_will_need_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    monkeypatch.setattr(_objects, "_warned", set())
    state = {"plain": (HARMLESS, collections.deque([1])), "rate": {"schedule": (Config(1.0),)}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            save(state, storage_writer=dcpcpp.FileSystemWriter(tmp_path))
    said = [warning for warning in caught if "harmless" in str(warning.message)]
    assert len(said) == 1
    assert said[0].filename == __file__
    assert f"'rate.schedule' holds {Config.__module__}.Config" in str(said[0].message)
