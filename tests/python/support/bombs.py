"""Small files that ask for much: memory, time or disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import zstandard

from support.planting import Planter

MIB = 1 << 20


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def _u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def pickles() -> dict[str, bytes]:
    """In the place of `.metadata`."""
    doubling = b"\x80\x04]\x94" + b"".join(
        b"(" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"e]\x94" for i in range(30)
    )
    key = b"X" + _u32(4) + b"abcd"
    many = 1_000_000
    return {
        "a memo slot of 4 billion": b"\x80\x04Nr" + _u32(0xFFFFFFFF) + b".",
        "a memo slot of 2^27": b"\x80\x02Nr" + _u32(1 << 27) + b".",
        "a sparse memo": b"\x80\x04Nr" + _u32(0x10000000) + b"0N.",
        "a string of 2^62 bytes": b"\x80\x04\x8d" + _u64(1 << 62) + b"x.",
        "a string of 2^31 bytes": b"\x80\x04X" + _u32(0x7FFFFFFF) + b"x.",
        "bytes of 2^40": b"\x80\x04\x8e" + _u64(1 << 40) + b"x.",
        "bytes of 4 GiB": b"\x80\x04B" + _u32(0xFFFFFFFF) + b"x.",
        "a number of 2 GiB": b"\x80\x04\x8b" + _u32(0x7FFFFFFF) + b"\x01.",
        "a number of 255 bytes": b"\x80\x04\x8a\xff" + b"\x7f" * 255 + b".",
        "a frame of 2^63 bytes": b"\x80\x04\x95" + _u64(1 << 63) + b"N.",
        "a bytearray of 2^62 bytes": b"\x80\x05\x96" + _u64(1 << 62) + b"x.",
        "a million open lists": b"\x80\x04" + b"]" * many + b".",
        "a million open dicts": b"\x80\x04" + b"}" * many + b".",
        "a million marks": b"\x80\x04" + b"(" * many + b".",
        "a million nested tuples": b"\x80\x04N" + b"\x85" * many + b".",
        "nested lists": b"\x80\x04" + b"](" * (many // 4) + b"e" * (many // 4) + b".",
        "a million memoized Nones": b"\x80\x04N" + b"\x94" * many + b".",
        "a million copies": b"\x80\x04N" + b"2" * many + b".",
        "lists that double": doubling + b".",
        "one key, 100,000 times": b"\x80\x04}(" + (key + b"N") * 100_000 + b"u.",
        "a dict with itself": b"\x80\x04}\x94" + key + b"h\x00s.",
        "a list with itself": b"\x80\x04]\x94" + b"h\x00a" * 300_000 + b".",
        "100,000 torch.Sizes": b"\x80\x04(" + b"ctorch\nSize\n(K\x01tt\x85R" * 40_000 + b"l.",
        "a line without an end": b"\x80\x02c" + b"x" * many,
        "a text number of a million digits": b"\x80\x02L" + b"9" * many + b"L\n.",
        "nothing": b"",
        "zeros": bytes(100_000),
        "a protocol of the future": b"\x80\x63N.",
    }


def _archive(*records: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in records:
            archive.writestr(name, content)
    return stream.getvalue()


_INT = b"\x80\x02K\x07."


def _with_central_size(item: bytes, nbytes: int) -> bytes:
    """The zip directory says that data.pkl is larger than it is."""
    entry = item.index(b"PK\x01\x02")
    return item[: entry + 20] + _u32(nbytes) * 2 + item[entry + 28 :]


def _with_zip64_end(item: bytes, count: int) -> bytes:
    """A zip64 directory of `count` entries."""
    end = item.index(b"PK\x05\x06")
    start = item.index(b"PK\x01\x02")
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, end - start, start
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    tail = b"PK\x05\x06" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"
    return item[:end] + record + locator + tail


def objects() -> dict[str, bytes]:
    """In the place of an object's item."""
    good = _archive(("archive/data.pkl", _INT), ("archive/version", b"3\n"))
    names = [(f"archive/{number:06}", b"") for number in range(6000)]
    deep = b"\x80\x02" + b"](" * 100_000 + b"e" * 100_000 + b"."
    deflated = _archive(("archive/data.pkl", bytes(512 * MIB)), compression=zipfile.ZIP_DEFLATED)
    return {
        "512 MiB of zeros, deflated": deflated[:MIB],
        "a directory of 2^62 entries": _with_zip64_end(good, 1 << 62),
        "a directory of 65,535 entries": good[:-14] + b"\xff\xff" + good[-12:],
        "a record of 4 GiB": _with_central_size(good, 0xFFFFFFF0),
        "thousands of records": _archive(*names),
        "a pickle nested 100,000 deep": _archive(("archive/data.pkl", deep)),
        "a memo slot of 2^27 in an object": _archive(
            ("archive/data.pkl", b"\x80\x02K\x07r" + _u32(1 << 27) + b".")
        ),
        "an object's string of 2^31 bytes": _archive(
            ("archive/data.pkl", b"\x80\x02X" + _u32(0x7FFFFFFF) + b"x.")
        ),
    }


def _huge_tensor(numel: int, sizes: bytes, strides: bytes) -> bytes:
    data = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
        b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08"
        + struct.pack("<q", numel)
        + b"tQK\x00"
        + sizes
        + strides
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )
    return _archive(
        ("archive/data.pkl", data), ("archive/data/0", bytes(24)), ("archive/version", b"3\n")
    )


def tensors() -> dict[str, bytes]:
    """In the place of an item of a float32 tensor of size (2, 3)."""
    small, row = b"K\x02K\x03\x86", b"K\x03K\x01\x86"
    big = b"\x8a\x08" + struct.pack("<q", 1 << 40)
    return {
        "a tensor of 2^40 elements": _huge_tensor(1 << 40, big + b"\x85", b"K\x01\x85"),
        "a storage of 2^62 elements": _huge_tensor(1 << 62, small, row),
        "strides beyond the storage": _huge_tensor(6, small, big + big + b"\x86"),
        "one element as 2^40": _huge_tensor(1, big + b"\x85", b"K\x00\x85"),
        "a storage of -1 elements": _huge_tensor(-1, small, row),
    }


def frames() -> dict[str, bytes]:
    """In the place of a zstd-compressed object."""
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(256 * MIB))
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(256 * MIB))
    window = b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00"  # asks for a window of terabytes
    return {
        "256 MiB of zeros, compressed": zeros,
        "the same without its size": endless,
        "a window of terabytes": window,
        "a frame of 2^62 bytes": b"\x28\xb5\x2f\xfd\xe0" + _u64(1 << 62) + b"\x01\x00\x00",
        "frame after frame": zstandard.ZstdCompressor().compress(bytes(1000)) * 20_000,
    }


def _sidecar(body: bytes) -> bytes:
    return body + _u32(zlib.crc32(body))


def sidecars(good: bytes) -> dict[str, bytes]:
    """In the place of the file of checksums; `good` is one."""
    count = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    bodies = {at: good[:at] + count + good[at:-4] for at in range(20, len(good) - 4, 17)}
    return {f"2^62 at byte {at} of the checksums": _sidecar(body) for at, body in bodies.items()}


def plant(template: Path, directory: Path) -> dict[str, Path]:
    """What each bomb is, and where it lies: in a copy of `planting.make_template`'s."""
    planter = Planter(template, directory)
    (sidecar,) = template.glob(".dcpcpp-*")
    planted = {name: planter.file(".metadata", bomb) for name, bomb in pickles().items()}
    for name, bomb in sidecars(sidecar.read_bytes()).items():
        planted[name] = planter.file(sidecar.name, bomb)
    for name, bomb in objects().items():
        planted[name] = planter.item("step", bomb)
    for name, bomb in tensors().items():
        planted[name] = planter.item("w", bomb)
    for name, bomb in frames().items():
        planted[name] = planter.item("step", bomb, "stream.zstd/1")
    return planted
