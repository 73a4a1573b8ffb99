"""Checkpoint files are untrusted: nothing in them runs, leaves the directory or exhausts memory."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)

import dcpcpp
from support import faults


class Calls:
    """Unpickles into a call of `function`."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Two tensors and an object, without our checksums: like stock torch's."""
    directory = tmp_path / "saved"
    state = {"w": torch.arange(6.0).reshape(2, 3), "v": torch.arange(4.0), "step": 7}
    dcpcpp.save(state, checkpoint_id=directory)
    faults.forget_checksums(directory)
    return directory


def load(directory: Path) -> dict[str, Any]:
    state = {"w": torch.zeros(2, 3), "v": torch.zeros(4), "step": 0}
    dcpcpp.load(state, checkpoint_id=directory)
    return state


def refusal(directory: Path) -> str:
    """The message of the CheckpointCorruptedError that a load raises."""
    with pytest.raises(dcpcpp.CheckpointCorruptedError) as info:
        load(directory)
    return str(info.value)


def test_what_the_other_tests_damage_is_loadable(saved: Path) -> None:
    assert torch.equal(load(saved)["w"], torch.arange(6.0).reshape(2, 3))


def pickles_that_call(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w')"
    stock_like = Metadata({}, {}, {})
    planner_data = dataclasses.replace(stock_like, planner_data={"x": Calls(os.system, touch)})
    inner = pickle.dumps(Metadata({}, {}, {}), protocol=4)
    return {
        "alone": pickle.dumps(Calls(os.system, touch), protocol=4),
        "protocol 0": pickle.dumps(Calls(os.system, touch), protocol=0),
        "in planner_data": pickle.dumps(planner_data, protocol=4),
        "builtins.exec": pickle.dumps(Calls(exec, code), protocol=2),
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "before the real one": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR0" + inner,
        "after the real one": inner + pickle.dumps(Calls(os.system, touch)),
        "an extension code": b"\x80\x04\x82\x01.",
        "a persistent id": b"\x80\x04Pid\n.",
        "a torch function": b"\x80\x04ctorch\nload\n\x8c\x01x\x85R.",
        "a dotted name": b"\x80\x04\x8c\x05torch\x8c\tos.system\x93\x8c\x01x\x85R.",
    }


@pytest.mark.parametrize("kind", pickles_that_call(Path("x")))
def test_metadata_that_calls_functions_is_refused_and_calls_nothing(
    saved: Path, tmp_path: Path, kind: str
) -> None:
    canary = tmp_path / "canary"
    (saved / ".metadata").write_bytes(pickles_that_call(canary)[kind])
    assert ".metadata" in refusal(saved)
    with pytest.raises(dcpcpp.CheckpointCorruptedError):
        dcpcpp.FileSystemReader(saved).read_metadata()
    assert not canary.exists()


def test_an_object_that_calls_functions_is_refused_and_calls_nothing(
    tmp_path: Path,
) -> None:
    canary = tmp_path / "canary"
    evil = {"config": Calls(os.system, f"touch {canary}")}
    torch.distributed.checkpoint.save(evil, checkpoint_id=tmp_path / "c")
    with pytest.raises(dcpcpp.CheckpointException, match="'config' is not loaded"):
        dcpcpp.load({"config": 1}, checkpoint_id=tmp_path / "c")
    with pytest.raises(pickle.UnpicklingError, match="could run code"):
        dcpcpp.open(tmp_path / "c").get("config")
    assert not canary.exists()
    dcpcpp.load({"config": 1}, checkpoint_id=tmp_path / "c", allow_pickle=True)
    assert canary.exists()


def test_metadata_cut_anywhere_is_refused(saved: Path) -> None:
    data = (saved / ".metadata").read_bytes()
    for length in range(0, len(data), 7):
        (saved / ".metadata").write_bytes(data[:length])
        assert ".metadata" in refusal(saved)


def edited(directory: Path, edit: Callable[[Metadata], object]) -> Path:
    metadata = faults.read_metadata(directory)
    edit(metadata)
    faults.write_metadata(directory, metadata)
    return directory


def tensor(metadata: Metadata) -> TensorStorageMetadata:
    stored = metadata.state_dict_metadata["w"]
    assert isinstance(stored, TensorStorageMetadata)
    return stored


def info_of(metadata: Metadata, key: str = "w") -> Any:
    return next(v for k, v in metadata.storage_data.items() if k.fqn == key)


def set_chunks(metadata: Metadata, *chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    info = info_of(metadata)
    kept = {k: v for k, v in metadata.storage_data.items() if k.fqn != "w"}
    tensor(metadata).chunks = [
        ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)) for offsets, sizes in chunks
    ]
    for number, (offsets, _) in enumerate(chunks):
        kept[MetadataIndex("w", torch.Size(offsets), number)] = info
    metadata.storage_data = kept


EDITS: dict[str, tuple[Callable[[Metadata], object], str]] = {
    "chunks that overlap": (
        lambda m: set_chunks(m, ((0, 0), (2, 3)), ((1, 0), (1, 3))),
        "w",
    ),
    "a chunk outside of the tensor": (lambda m: set_chunks(m, ((1, 0), (2, 3))), "w"),
    "a part that no chunk covers": (lambda m: set_chunks(m, ((0, 0), (1, 3))), "w"),
    "no chunks": (lambda m: set_chunks(m), "w"),
    "an item without a place": (
        lambda m: setattr(
            m, "storage_data", {k: v for k, v in m.storage_data.items() if k.fqn != "w"}
        ),
        "w",
    ),
    "an object without a place": (
        lambda m: setattr(
            m, "storage_data", {k: v for k, v in m.storage_data.items() if k.fqn != "step"}
        ),
        "step",
    ),
    "an item behind the end": (lambda m: setattr(info_of(m), "offset", 1 << 40), "w"),
    "an item before the start": (lambda m: setattr(info_of(m), "offset", -1), "w"),
    "an item longer than its file": (lambda m: setattr(info_of(m), "length", 1 << 40), "w"),
    "an item of negative length": (lambda m: setattr(info_of(m), "length", -5), "w"),
    "an item of no length": (lambda m: setattr(info_of(m), "length", 0), "w"),
    "an offset that overflows": (lambda m: setattr(info_of(m), "offset", (1 << 63) - 1), "w"),
    "another tensor's item": (
        lambda m: setattr(info_of(m), "offset", info_of(m, "v").offset),
        "w",
    ),
    "an object's item": (lambda m: setattr(info_of(m), "offset", info_of(m, "step").offset), "w"),
    "an unknown transform": (
        lambda m: setattr(info_of(m), "transform_descriptors", ["stream.rot13/1"]),
        "Unknown extension name='stream.rot13'",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_metadata_that_contradicts_itself_or_the_files_is_refused(saved: Path, what: str) -> None:
    edit, named = EDITS[what]
    with pytest.raises(dcpcpp.CheckpointException) as info:
        load(edited(saved, edit))
    cause = info.value.failures[0][0]
    expected = ValueError if "transform" in what else dcpcpp.CheckpointCorruptedError
    assert type(cause) is expected
    assert re.search(rf"(?<!\w){named}(?!\w)", str(cause))


def test_an_unknown_dtype_is_named(saved: Path) -> None:
    data = (saved / ".metadata").read_bytes()
    assert b"float32" in data
    (saved / ".metadata").write_bytes(data.replace(b"float32", b"float99"))
    with pytest.raises(dcpcpp.CheckpointException) as info:
        load(saved)
    with pytest.raises(NotImplementedError, match=r'"w": dtype torch\.float99 is not known'):
        raise info.value.failures[0][0]


def test_the_dtype_of_the_item_counts_where_the_metadata_has_another(saved: Path) -> None:
    """torch's cached plans keep the dtype of an earlier save in the metadata."""

    def lie(metadata: Metadata) -> None:
        stored = tensor(metadata)
        stored.properties = dataclasses.replace(stored.properties, dtype=torch.int64)

    assert torch.equal(load(edited(saved, lie))["w"], torch.arange(6.0).reshape(2, 3))
