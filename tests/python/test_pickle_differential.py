"""R20: what we read out of a `.metadata` is what CPython's unpickler reads, or nothing."""

from __future__ import annotations

import collections
import dataclasses
import io
import pickle
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from dcpcpp import _core
from dcpcpp.errors import CheckpointError
from support.mutations import PickleMutator
from support.pickle_oracle import MalformedError, canonical, unpickle
from support.scoreboard import report, trials
from support.trials import little_memory

SEED = 2020
MAX_SEED_NBYTES = 8 << 10

WORDS = [
    b"\x80\x04",
    b"\x93",
    b"\x94",
    b"\x81",
    b"\x85",
    b"\x86",
    b"R",
    b"b",
    b"(",
    b"t",
    b"u",
    b"s",
    b"e",
    b"a",
    b".",
    b")",
    b"]",
    b"}",
    b"N",
    b"K\x01",
    b"0",
    b"2",
    b"cposix\nsystem\n",
    b"ctorch\nSize\n",
    b"ctorch\nfloat32\n",
    b"ccollections\nOrderedDict\n",
    b"\x8c\x05torch",
    b"\x8c\x06chunks",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
]

# Why we may refuse what CPython unpickles: what torch never writes, limits, and
# metadata that contradicts itself.
REASONS = {
    "opcode": r"this opcode is not allowed|not begin with PROTO|PROTO is allowed|protocol \d+ is",
    "frame": r"frame",
    "limit": r"too many MARKs|nested too deeply|too long|too large|does not end|memory",
    "text": r"not UTF-8",
    "memo": r"memo",
    "name": r"has no place in a checkpoint|two short strings|is not known to this version",
    "call": r"callable is not|arguments are not|has a state already|only an object can be given",
    "target": r"the target is|in use|cannot be a key|no list below|no dict below|key has no value",
    "stack": r"stack|there is no MARK|STOP at byte",
    "twice": r"is there twice|a chunk twice",
    "shape": r"of another|is missing|are missing|has no|has not|takes one argument|torch 1\.12",
    "kind": r" is .*, not |no tensor",
    "range": r"impossible|outside of size|for a tensor of size|dimensions|not one of torch's",
}


def reason_of(message: str) -> str | None:
    return next((name for name, text in REASONS.items() if re.search(text, message)), None)


def golden_metadata(golden: Path) -> Iterator[bytes]:
    # torch 1.12's is refused by name.
    for path in sorted(golden.glob("torch-*/*/.metadata")):
        if "torch-1.12" in str(path):
            continue
        data = path.read_bytes()
        if len(data) <= MAX_SEED_NBYTES:
            yield data


def made_up_metadata(draw: random.Random) -> Metadata:
    """Metadata of no particular checkpoint."""
    entries: dict[str, Any] = {}
    places: dict[MetadataIndex, Any] = {}
    for number in range(draw.randrange(1, 5)):
        key = draw.choice(["w", "layer.0.bias", "ä", "x" * 300]) + str(number)
        offsets: list[tuple[int, ...] | None] = [None]
        if draw.random() < 0.3:
            entries[key] = BytesStorageMetadata()
        else:
            size = [draw.randrange(0, 70000) for _ in range(draw.randrange(4))]
            whole = ChunkStorageMetadata(torch.Size([0] * len(size)), torch.Size(size))
            properties = TensorProperties(dtype=draw.choice([torch.float32, torch.bool]))
            entries[key] = TensorStorageMetadata(properties, torch.Size(size), [whole])
            offsets = [tuple(whole.offsets)]
        for offset in offsets:
            index = MetadataIndex(key, offset)
            length = draw.choice([10, 300, 70_000, 1 << 33])
            places[index] = filesystem._StorageInfo("__0_0.distcp", number * 100, length)
    meta = StorageMeta(checkpoint_id="/c", save_id=str(draw.random()))
    return Metadata(entries, {"a": ("a", 0)}, places, meta)


def pickled_every_way(metadata: Metadata) -> Iterator[bytes]:
    for protocol in (2, 3, 4, 5):
        yield pickle.dumps(metadata, protocol=protocol)
        stream = io.BytesIO()
        pickle._Pickler(stream, protocol).dump(metadata)  # type: ignore[attr-defined]  # in Python
        yield stream.getvalue()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of one input; `fault` is empty if that may be."""

    kind: str
    fault: str = ""


def compare(data: bytes) -> Comparison:
    """Read `data` with libdcp and with CPython."""
    refusal = ""
    ours: dict[str, Any] = {}
    try:
        read = _core.parse_metadata(data)
        ours = canonical(unpickle(_core.serialize_metadata(read)))
    except (CheckpointError, NotImplementedError) as error:
        refusal = str(error)
    try:
        loaded = unpickle(data)
    except Exception as error:
        kind = "both refuse" if refusal else "only CPython refuses"
        return Comparison(kind, "" if refusal else f"CPython: {error!r}")
    if refusal:
        reason = reason_of(refusal)
        return Comparison(f"only we refuse: {reason}", "" if reason else refusal)
    try:
        theirs = canonical(loaded)
    except MalformedError:
        return Comparison("only we see metadata", "CPython makes no metadata of it")
    return Comparison("both read it", "" if ours == theirs else f"{ours} != {theirs}")


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """Let CPython fail, too, where a pickle asks for gigabytes."""
    with little_memory(256 << 20):
        yield


@pytest.mark.row("R20")
@pytest.mark.timeout(5400)
@pytest.mark.usefixtures("_little_memory")
def test_no_pickle_is_read_differently_from_cpython(golden: Path) -> None:
    draw = random.Random(SEED)
    seeds = list(golden_metadata(golden))
    for _ in range(8):
        seeds.extend(pickled_every_way(made_up_metadata(draw)))
    for seed in seeds:
        assert compare(seed) == Comparison("both read it")
    mutator = PickleMutator(seeds, WORDS, draw)
    count = trials(quick=100_000, deep=10_000_000)
    kinds: collections.Counter[str] = collections.Counter()
    faults = []
    for _ in range(count):
        data = mutator.next()
        comparison = compare(data)
        kinds[comparison.kind] += 1
        if comparison.fault:
            faults.append((comparison, data))
    ended = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    report(
        "R20",
        "mutated metadata, against CPython's unpickler",
        count=count,
        bad=len(faults),
        seed=SEED,
        note=ended,
    )
    assert faults[:3] == []
    assert kinds["both read it"] > count // 100
