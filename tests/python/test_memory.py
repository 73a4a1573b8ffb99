"""What a save or a load adds to the process is bounded, for tensors of every kind and objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp

# In a process of its own, whose memory nobody else uses.
PREAMBLE = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch, dcpcpp

def mib(field):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field + ":")[2].split()[0]) / 1024

def added_by(call, **arguments):
    Path("/proc/self/clear_refs").write_text("5")  # forgets VmHWM
    before = mib("VmRSS")
    call(checkpoint_id=sys.argv[1] + "/c", **arguments)
    return mib("VmHWM") - before

small = {"w": torch.ones(9), "o": (1, torch.ones(9))}
dcpcpp.save(small, checkpoint_id=sys.argv[1] + "/warm-up")
dcpcpp.load(small, checkpoint_id=sys.argv[1] + "/warm-up")
"""


def measured(script: str, directory: Path) -> Any:
    """What `script`, which runs after PREAMBLE, prints."""
    command = [sys.executable, "-c", PREAMBLE + script, str(directory)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_large_object_is_there_once_beside_its_pickle(
    tmp_path: Path, compression: str | None
) -> None:
    # The pickle of 300 MiB, and the object itself on loading: torch makes these, too.
    save, load = measured(
        f"""
state = {{"o": (torch.randint(256, (300 << 20,), dtype=torch.uint8),)}}
save = added_by(dcpcpp.save, state_dict=state, compression={compression!r})
del state
print(json.dumps([save, added_by(dcpcpp.load, state_dict={{"o": None}})]))
""",
        tmp_path,
    )
    assert 290 < save < 300 + 256
    assert 590 < load < 600 + 256


def test_many_objects_are_decoded_one_after_the_other(tmp_path: Path) -> None:
    load = measured(
        """
state = {str(i): (torch.full((40 << 20,), i, dtype=torch.uint8),) for i in range(10)}
dcpcpp.save(state, checkpoint_id=sys.argv[1] + "/c")
empty = dict.fromkeys(state)
del state
print(added_by(dcpcpp.load, state_dict=empty))
""",
        tmp_path,
    )
    assert 390 < load < 400 + 256


def test_conjugated_and_negated_tensors_are_resolved_piece_by_piece(tmp_path: Path) -> None:
    save = measured(
        """
state = {"conj": torch.ones(40 << 20, dtype=torch.complex64).conj()}
state["neg"] = torch.ones(40 << 20, dtype=torch.complex64).conj().imag
print(added_by(dcpcpp.save, state_dict=state))
""",
        tmp_path,
    )
    assert save < 256


def complex_values() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(64, 33, dtype=torch.complex64)


LAZY = {
    "conj": lambda: complex_values().conj(),
    "conj of a part": lambda: complex_values().t()[3:, 5:].conj(),
    "conj, expanded": lambda: complex_values()[:1].conj().expand(4, 33),
    "neg": lambda: complex_values().conj().imag,
    "neg, complex": lambda: torch._neg_view(complex_values()),
    "both": lambda: torch._neg_view(complex_values().conj()),
    "neg, integers": lambda: torch._neg_view(torch.arange(9)),
}


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}], ids=["plain", "zstd"])
@pytest.mark.parametrize("save", [dcpcpp.save, dcpcpp.async_save])
def test_what_bits_leave_to_be_done_is_done_in_the_file(
    tmp_path: Path, save: Any, options: dict[str, str]
) -> None:
    state = {key: make() for key, make in LAZY.items()}
    assert all(value.is_conj() or value.is_neg() for value in state.values())
    done = save(state, checkpoint_id=tmp_path, **options)
    if save is dcpcpp.async_save:
        done.result()
    stored = dcpcpp.load_full(tmp_path)
    for key, value in state.items():
        assert torch.equal(stored[key], value.resolve_conj().resolve_neg()), key


def test_a_conjugated_tensor_is_cast_as_its_values(tmp_path: Path) -> None:
    value = complex_values().conj().imag
    dcpcpp.save({"w": value}, checkpoint_id=tmp_path, export_dtype=torch.bfloat16)
    assert torch.equal(dcpcpp.load_full(tmp_path)["w"], value.resolve_neg().bfloat16())


def shrunk(nbytes: int, view: Any = None) -> torch.Tensor:
    tensor = torch.zeros(1000)
    shown = tensor if view is None else view(tensor)
    tensor.untyped_storage().resize_(nbytes)
    return shown


SHRUNK = {
    "empty": lambda: shrunk(0),
    "a byte too short": lambda: shrunk(3999),
    "a part of it": lambda: shrunk(2000, lambda t: t[400:501]),
    "strided": lambda: shrunk(3990, lambda t: t[::2][1:]),
    "a parameter": lambda: torch.nn.Parameter(shrunk(16)),
    "conjugated": lambda: shrunk(16, lambda t: torch.view_as_complex(t.view(-1, 2)).conj()),
}


@pytest.mark.parametrize("make", SHRUNK.values(), ids=SHRUNK.keys())
def test_a_tensor_without_all_of_its_memory_is_neither_read_nor_filled(
    tmp_path: Path, make: Any
) -> None:
    tensor = make()
    with pytest.raises(dcpcpp.CheckpointException, match=r"layer\.w .*its storage has") as info:
        dcpcpp.save({"layer": {"w": tensor}}, checkpoint_id=tmp_path / "new")
    assert isinstance(info.value.failures[0][0], ValueError)

    whole = torch.ones(tensor.size(), dtype=tensor.dtype)
    dcpcpp.save({"layer": {"w": whole}}, checkpoint_id=tmp_path / "c")
    with pytest.raises(dcpcpp.CheckpointException, match=r"layer\.w .*its storage has") as info:
        dcpcpp.load({"layer": {"w": tensor}}, checkpoint_id=tmp_path / "c")
    assert isinstance(info.value.failures[0][0], ValueError)


def test_a_tensor_that_ends_with_its_storage_is_saved(tmp_path: Path) -> None:
    state = {
        "strided": shrunk(3988, lambda t: t[::4][:250]),
        "last": shrunk(2004, lambda t: t[500:501]),
        "none": shrunk(0, lambda t: t[:0]),
    }
    for tensor in state.values():
        tensor.copy_(torch.arange(tensor.numel(), dtype=tensor.dtype))
    expected = {key: tensor.clone() for key, tensor in state.items()}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    for tensor in state.values():
        tensor.zero_()
    dcpcpp.load(state, checkpoint_id=tmp_path)
    for key, tensor in state.items():
        assert torch.equal(tensor, expected[key])


@pytest.mark.parametrize(("compression", "most"), [("None", 8 + 16), ("'zstd'", 256)])
def test_the_bound_that_was_asked_for_holds(tmp_path: Path, compression: str, most: int) -> None:
    added = measured(
        f"""
state = {{str(i): torch.full((8 << 20,), float(i)) for i in range(12)}}
writer = dcpcpp.FileSystemWriter(sys.argv[1], max_buffer_bytes=8 << 20, compression={compression})
save = added_by(dcpcpp.save, state_dict=state, storage_writer=writer)
reader = dcpcpp.FileSystemReader(sys.argv[1], max_buffer_bytes=8 << 20)
load = added_by(dcpcpp.load, state_dict=state, storage_reader=reader)
print(json.dumps([save, load]))
""",
        tmp_path,
    )
    assert max(added) <= most
    assert added[0] > 1


def one_large_and_some_small() -> dict[str, torch.Tensor]:
    """Of 512 MiB, every page touched."""
    small = {str(i): torch.full((8 << 20,), float(i)) for i in range(4)}
    return {"large": torch.full((96 << 20,), 0.5), **small}


SAME = """
from dcpcpp import DefaultLoadPlanner, DefaultSavePlanner
class PlainLoad(DefaultLoadPlanner): pass
class OwnSave(DefaultSavePlanner): pass
state = {str(i): torch.zeros(8 << 20) for i in range(4)}
state["large"] = torch.zeros(96 << 20)
state = {key: value.fill_(0.0) for key, value in state.items()}
def right():
    small = all(bool((state[str(i)] == i).all()) for i in range(4))
    return small and bool((state["large"] == 0.5).all())
"""


@pytest.mark.parametrize("extensions", [(), (stock._extension.ZStandard(),)], ids=["plain", "zstd"])
def test_a_load_of_what_torch_saved_adds_no_more(tmp_path: Path, extensions: Any) -> None:
    """Its items are checked as a whole, of whatever size."""
    writer = stock.FileSystemWriter(tmp_path / "c", _extensions=list(extensions))
    stock.save(one_large_and_some_small(), storage_writer=writer)
    load, right = measured(
        SAME + "print(json.dumps([added_by(dcpcpp.load, state_dict=state), right()]))", tmp_path
    )
    assert right
    assert load <= 256


def test_a_planner_with_tensors_of_its_own_adds_no_more(tmp_path: Path) -> None:
    """Stock torch has those of one item at a time."""
    state = {str(i): torch.full((8 << 20,), float(i)) for i in range(16)}
    dcpcpp.save(state, checkpoint_id=tmp_path / "c")
    load, right = measured(
        """
from dcpcpp import DefaultLoadPlanner
class Aside(DefaultLoadPlanner):
    def resolve_tensor(self, item):
        return torch.empty(item.lengths)
    def commit_tensor(self, item, tensor):
        super().resolve_tensor(item).copy_(tensor)
state = {str(i): torch.full((8 << 20,), -1.0) for i in range(16)}
load = added_by(dcpcpp.load, state_dict=state, planner=Aside())
right = all(bool((state[str(i)] == i).all()) for i in range(16))
print(json.dumps([load, right]))
""",
        tmp_path,
    )
    assert right
    assert load <= 256


def test_a_planner_that_makes_what_it_saves_adds_no_more(tmp_path: Path) -> None:
    save = measured(
        """
from dcpcpp import DefaultSavePlanner
class Copies(DefaultSavePlanner):
    def transform_object(self, item, obj):
        return obj.clone()
state = {str(i): torch.full((8 << 20,), float(i)) for i in range(20)}
print(added_by(dcpcpp.save, state_dict=state, planner=Copies()))
""",
        tmp_path,
    )
    assert save <= 256


def test_torchs_protocol_adds_no_more(tmp_path: Path) -> None:
    dcpcpp.save(one_large_and_some_small(), checkpoint_id=tmp_path / "c")
    load, right, save = measured(
        SAME
        + """
load = added_by(dcpcpp.load, state_dict=state, planner=PlainLoad())
loaded = right()
save = added_by(dcpcpp.save, state_dict=state, planner=OwnSave())
print(json.dumps([load, loaded, save]))
""",
        tmp_path,
    )
    assert right
    assert max(load, save) <= 256
