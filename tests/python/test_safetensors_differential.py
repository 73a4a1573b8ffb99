"""R20: what libdcp reads out of a safetensors file is what safetensors reads, or nothing."""

from __future__ import annotations

import collections
import dataclasses
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from support.lister import Lister
from support.mutations import Mutator
from support.safetensors_cases import Readers, cases, framed
from support.scoreboard import report, trials

SEED = 2026

# By name: type, shape, data.
Tensors = dict[str, tuple[str, list[int], bytes]]

WORDS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b" ",
    b"0",
    b"1",
    b"2",
    b"-1",
    b"1.0",
    b"null",
    b"{}",
    b"[]",
    b"[0,0]",
    b"[2,3]",
    b"9223372036854775807",
    b"9223372036854775808",
    b"4611686018427387904",
    b"\\u0041",
    b"\\ud83d\\ude00",
    b"\xc3\xa9",
    b'"F4"',
    b'"F64"',
    b'"U8"',
    b'"shape":',
    b'"dtype":',
    b'"data_offsets":',
    b'"__metadata__":{"k":"v"},',
    b'"n":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},',
    b'"m":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},',
]

# Why we may refuse what safetensors reads: what we say, and what must be in the file then.
REASONS = {
    "a key twice": (r"the key .* is there twice", rb""),
    "a list of fields": (r"is not described by an object", rb"\["),
    "a type as an object": (r"a dtype that is not a string", rb"\{\s*\"[A-Z0-9_]+\"\s*:\s*null"),
    "a size beyond int64": (r"not a list of whole numbers", rb"\d{19}"),
    "sizes that overflow": (r"has 2\^63 elements or more", rb"\d{10}"),
    "too many dimensions": (r"more than 64 dimensions", rb"(,[^,\]]+){64}"),
}


def reason_of(message: str, file: bytes) -> str | None:
    for name, (said, needed) in REASONS.items():
        if re.search(said, message) and re.search(needed, file):
            return name
    return None


@pytest.fixture(scope="module")
def lister(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lister]:
    lister = Lister("dcp_list_safetensors", tmp_path_factory.mktemp("build"))
    yield lister
    lister.close()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for the reference, which reads metadata from files only."""
    return tmp_path_factory.mktemp("reference") / "x.safetensors"


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one of the two made of a file."""

    tensors: Tensors
    metadata: dict[str, str]


def read_by_reference(file: bytes, scratch: Path) -> Reading | str:
    """What safetensors reads, or why it does not."""
    try:
        entries = safetensors.deserialize(file)
    except safetensors.SafetensorError as error:
        return str(error)
    scratch.write_bytes(file)
    with safetensors.safe_open(scratch, framework="pt") as opened:
        metadata = opened.metadata() or {}
    tensors = {
        name: (entry["dtype"], list(entry["shape"]), bytes(entry["data"]))
        for name, entry in entries
    }
    return Reading(tensors, metadata)


def read_by_us(file: bytes, lister: Lister) -> Reading | str:
    listed = lister(file)
    if "refusal" in listed:
        return str(listed["refusal"])
    data = file[listed["data_offset"] :]
    tensors = {
        name: (dtype, shape, data[begin:end])
        for name, dtype, shape, begin, end in listed["tensors"]
    }
    return Reading(tensors, listed["metadata"])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of one file; `fault` is empty if that may be."""

    kind: str
    fault: str = ""


def compare(file: bytes, lister: Lister, scratch: Path) -> Comparison:
    """Read `file` with libdcp and with safetensors."""
    ours = read_by_us(file, lister)
    theirs = read_by_reference(file, scratch)
    if isinstance(ours, str):
        if isinstance(theirs, str):
            return Comparison("both refuse")
        reason = reason_of(ours, file)
        return Comparison(f"only we refuse: {reason}", "" if reason else ours)
    if isinstance(theirs, str):
        return Comparison("only safetensors refuses", theirs)
    fault = "" if ours == theirs else f"{ours} is {theirs} to safetensors"
    return Comparison("both read it", fault)


@pytest.mark.parametrize(("file", "readers"), cases().values(), ids=cases().keys())
def test_edges_of_the_format(file: bytes, readers: Readers, lister: Lister, scratch: Path) -> None:
    assert isinstance(read_by_reference(file, scratch), str) == (readers == "none")
    comparison = compare(file, lister, scratch)
    assert comparison.fault == ""
    read_by = {"both read it": "both", "both refuse": "none"}
    assert read_by.get(comparison.kind, "reference") == readers


def headers_and_files() -> tuple[list[bytes], list[bytes]]:
    """Headers that safetensors reads, and whole files."""
    files = [file for file, readers in cases().values() if readers == "both"]
    tensors = {
        "layers.0.weight": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
        "layers.0.bias": torch.tensor(2.5),
        "steps": torch.tensor([1, 2], dtype=torch.int64),
        "none": torch.empty(0, 3),
        "mask": torch.tensor([True, False, True]),
    }
    files.append(safetensors.torch.save(tensors, {"format": "pt"}))
    return [file[8 : 8 + int.from_bytes(file[:8], "little")] for file in files], files


def with_fitting_data(header: bytes, draw: random.Random) -> bytes:
    """A file of this header, with as much data as its last offset asks for."""
    ends = re.findall(rb"\[\s*\d+\s*,\s*(\d{1,5})\s*\]", header)
    nbytes = max((int(end) for end in ends), default=0)
    return framed(header, draw.randbytes(nbytes if draw.random() < 0.95 else nbytes + 1))


def random_tensor(draw: random.Random, begin: int) -> tuple[str, int]:
    """A tensor as JSON, which may not be right, and where its data ends."""
    dtype, nbits = draw.choice([("U8", 8), ("F32", 32), ("I64", 64), ("F4", 4), ("F6_E2M3", 6)])
    shape = [draw.choice((0, 1, 2, 3, 4, 8, 8)) for _ in range(draw.randrange(4))]
    numel = 1
    for size in shape:
        numel *= size
    end = begin + numel * nbits // 8
    if draw.random() < 0.02:
        begin += draw.choice((-1, 1))
    if draw.random() < 0.02:
        end += draw.choice((-1, 1))
    fields = [f'"dtype":"{dtype}"', f'"shape":{shape}', f'"data_offsets":[{begin}, {end}]']
    draw.shuffle(fields)
    if draw.random() < 0.05:
        fields.append('"more":{"a":[1.5,"x",null,true]}')
    return "{" + ", ".join(fields) + "}", end


def random_header(draw: random.Random) -> bytes:
    """A header that is nearly right, or right, in any layout that JSON has."""
    end = 0
    entries = []
    for number in range(draw.randrange(6)):
        text, end = random_tensor(draw, end)
        name = draw.choice(("w", "é", "\\u00e9", "a.b", "\\n", "😀")) + str(number)
        entries.append(f'"{name}": {text}')
    if draw.random() < 0.3:
        entries.append('"__metadata__": {"format":"pt","é\\t":"\\u0000"}')
    if entries and draw.random() < 0.05:
        entries.append(draw.choice(entries))
    draw.shuffle(entries)
    space = draw.choice(("", " ", "\n", " \t\r\n"))
    return (space + "{" + f"{space},{space}".join(entries) + "}" + space).encode()


@pytest.mark.row("R20")
@pytest.mark.timeout(5400)
def test_no_file_is_read_differently_from_safetensors(lister: Lister, scratch: Path) -> None:
    draw = random.Random(SEED)
    headers, files = headers_and_files()
    headers += [random_header(draw) for _ in range(50)]
    of_headers, of_files = Mutator(headers, WORDS, draw), Mutator(files, WORDS, draw)
    count = trials(quick=20_000, deep=2_000_000)
    kinds: collections.Counter[str] = collections.Counter()
    faults_found = []
    for number in range(count):
        if number % 4 == 0:
            file = with_fitting_data(random_header(draw), draw)
        elif number % 4 == 1:
            file = of_files.next()
        else:
            file = with_fitting_data(of_headers.next(), draw)
        comparison = compare(file, lister, scratch)
        kinds[comparison.kind] += 1
        if comparison.fault:
            faults_found.append((comparison, file))
    report(
        "R20",
        "mutated and random safetensors files, against safetensors",
        count=count,
        bad=len(faults_found),
        seed=SEED,
        note=", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()),
    )
    assert faults_found[:3] == []
    assert kinds["both read it"] > count // 10
    assert kinds["both refuse"] > count // 10
    assert kinds["only we refuse: a key twice"] > 0
