"""R20: what libdcp reads out of an archive is what zipfile and torch read, or nothing."""

from __future__ import annotations

import collections
import dataclasses
import io
import random
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from support.lister import Lister
from support.mutations import Mutator
from support.pickle_oracle import unpickle
from support.scoreboard import report, trials

SEED = 2021
MAX_SEED_NBYTES = 4 << 10

WORDS = [
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
    b"PK\x07\x08",
    b"FB",
    b"\x01\x00\x10\x00",
    b"\x08\x00",
    b"\x00\x08",
    b"\xff\xff\xff\xff",
    b"archive/",
    b"archive/data.pkl",
    b"/",
    b"\x00",
]

# Why we may refuse what zipfile reads: what torch never writes.
REASONS = {
    "encoded": r"is compressed, encrypted, a directory",
    "twice": r"is there twice",
    "place": r"is misplaced|overlaps others|beyond its end|has no zip64 end record",
    "end": r"no end record|too short|spans disks",
    "directory": r"directory is malformed|does not match the directory|another size than",
    "name": r"is not UTF-8",
    "zip64": r"short zip64 field|zip64 end record",
}


def reason_of(message: str) -> str | None:
    return next((name for name, text in REASONS.items() if re.search(text, message)), None)


@pytest.fixture
def lister(tmp_path: Path) -> Iterator[Lister]:
    lister = Lister("dcp_list_records", tmp_path / "build")
    yield lister
    lister.close()


def golden_items(golden: Path) -> Iterator[bytes]:
    for path in sorted(golden.glob("torch-*/*/.metadata")):
        if "torch-1.12" in str(path):
            continue
        for info in unpickle(path.read_bytes()).storage_data.values():
            file = path.parent / info.relative_path
            is_archive = not vars(info).get("transform_descriptors")
            # Of some checkpoints there is the metadata only.
            if is_archive and info.length <= MAX_SEED_NBYTES and file.exists():
                yield file.read_bytes()[info.offset : info.offset + info.length]


def made_by_zipfile() -> Iterator[bytes]:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for force_zip64 in (False, True):
            for name in ("archive/data.pkl", "archive/\u00e4.bin", "x"):
                stream = io.BytesIO()
                with zipfile.ZipFile(stream, "w", compression) as archive:
                    for number in range(3):
                        info = zipfile.ZipInfo(f"{name}{number}")
                        with archive.open(info, "w", force_zip64=force_zip64) as record:
                            record.write(bytes([number]) * 40 * number)
                yield stream.getvalue()


def zipfile_fault(archive: bytes, records: list[tuple[str, int, int, int]]) -> str:
    """How zipfile differs from these records, empty if it does not."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as reader:
            entries = sorted(reader.infolist(), key=lambda entry: entry.header_offset)
            if len(entries) != len(records):
                return f"zipfile sees {len(entries)} records of {len(records)}"
            for entry, (name, offset, nbytes, crc32) in zip(entries, records, strict=True):
                ours = archive[offset : offset + nbytes]
                if crc32 != entry.CRC or entry.file_size != nbytes:
                    return f"{name}: zipfile has another size or CRC"
                if re.fullmatch(r"[ -&(-[\]-~]{0,200}", name) and entry.orig_filename != name:
                    return f"{name} is {entry.orig_filename!r} to zipfile"
                entry.CRC = zlib.crc32(ours)  # else zipfile refuses what does not fit
                if reader.read(entry) != ours:
                    return f"{name}: zipfile reads other bytes"
    except Exception as error:
        return f"zipfile: {error!r}"
    return ""


def torch_fault(archive: bytes, records: list[tuple[str, int, int, int]]) -> str:
    """The same for torch, which decodes objects with its own reader of archives."""
    folder = records[0][0].partition("/")[0]  # of the first record, as in torch
    try:
        reader = torch._C.PyTorchFileReader(io.BytesIO(archive))
        for name, offset, nbytes, _ in records:
            inside = name.removeprefix(f"{folder}/")
            if inside != name and reader.get_record(inside) != archive[offset : offset + nbytes]:
                return f"{name}: torch reads other bytes"
    except Exception as error:
        return f"torch: {error!r}"
    return ""


def zipfile_reads(archive: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as reader:
            for entry in reader.infolist():
                reader.read(entry)
    except Exception:
        return False
    return True


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of one input; `fault` is empty if that may be."""

    kind: str
    fault: str = ""


def compare(archive: bytes, lister: Lister) -> Comparison:
    """Read `archive` with libdcp and with zipfile."""
    listed = lister(archive)
    if refusal := listed.get("refusal"):
        if not zipfile_reads(archive):
            return Comparison("both refuse")
        reason = reason_of(refusal)
        return Comparison(f"only we refuse: {reason}", "" if reason else refusal)
    records = listed["records"]
    if fault := zipfile_fault(archive, records):
        return Comparison("zipfile refuses, or differs", fault)
    is_damaged = any(
        crc32 not in (0, zlib.crc32(archive[offset : offset + nbytes]))
        for _, offset, nbytes, crc32 in records
    )
    if is_damaged != bool(listed["damage"]):
        return Comparison("both read it", f"damage: {listed['damage']!r}")
    if is_damaged:
        return Comparison("both see the damage")
    if listed["version"]:  # none in zipfile's own archives
        return Comparison("only we refuse: version")
    if fault := torch_fault(archive, records):
        return Comparison("torch refuses, or differs", fault)
    return Comparison("both read it")


@pytest.mark.row("R20")
@pytest.mark.timeout(5400)
def test_no_archive_is_read_differently_from_zipfile_or_torch(golden: Path, lister: Lister) -> None:
    draw = random.Random(SEED)
    seeds = [*golden_items(golden), *made_by_zipfile()]
    for seed in golden_items(golden):
        assert compare(seed, lister) == Comparison("both read it")
    mutator = Mutator(seeds, WORDS, draw)
    count = trials(quick=50_000, deep=5_000_000)
    kinds: collections.Counter[str] = collections.Counter()
    faults_found = []
    for _ in range(count):
        archive = mutator.next()
        comparison = compare(archive, lister)
        kinds[comparison.kind] += 1
        if comparison.fault:
            faults_found.append((comparison, archive))
    report(
        "R20",
        "mutated archives, against Python's zipfile and torch",
        count=count,
        bad=len(faults_found),
        seed=SEED,
        note=", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()),
    )
    assert faults_found[:3] == []
    assert kinds["both read it"] > count // 100
    assert kinds["both see the damage"] > count // 100
