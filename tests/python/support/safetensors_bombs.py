"""Small directories of safetensors that ask for much: memory or time."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from safetensors.torch import save_file

INDEX = "model.safetensors.index.json"
_OF_A_RANK = "shard-00001-model-00001-of-00001.safetensors"
_MANY = 1_000_000


def make_template(directory: Path) -> Path:
    """A sound model of one float32 tensor "w" of size (2, 3)."""
    directory.mkdir()
    save_file({"w": torch.zeros(2, 3)}, directory / "model.safetensors")
    return directory


def _file(header: bytes, nbytes: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if nbytes is None else nbytes) + header + bytes(24)


def _entry(shape: list[int], end: int) -> bytes:
    fields = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
    return json.dumps({"w": fields}, separators=(",", ":")).encode()


def files() -> dict[str, bytes]:
    """In the place of model.safetensors."""
    empty = b'"%05d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    names = b",".join(empty % number for number in range(17_000))
    return {
        "a header of 2^63 bytes": _file(b"{}", 1 << 63),
        "a header of 100 MB that is not there": _file(b"{", 100_000_000),
        "a million brackets": _file(b'{"w":' + b"[" * _MANY),
        "a tensor of 2^62 bytes": _file(_entry([1 << 60], 1 << 62)),
        "a shape beyond 2^64": _file(_entry([1 << 32, 1 << 32], 0)),
        "a shape of 2^62 by 0": _file(_entry([1 << 62, 0], 0)),
        "a shape of 400,000 dimensions": _file(_entry([1] * 400_000, 4)),
        "17,000 tensors of nothing": _file(b"{" + names + b"}"),
        "one tensor, 17,000 times": _file(
            b"{" + b",".join([_entry([2, 3], 24)[1:-1]] * 17_000) + b"}"
        ),
        "a name without an end": _file(b'{"' + b"x" * _MANY),
        "escapes": _file(b'{"' + b"\\u0041" * 170_000 + b'":'),
        "an offset of a million digits": _file(
            b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,' + b"9" * _MANY + b"]}}"
        ),
        "blanks": _file(b"{" + b" " * _MANY),
        "50,000 remarks": _file(
            b'{"__metadata__":{' + b",".join(b'"%05d":"x"' % n for n in range(50_000)) + b"}}"
        ),
    }


def indices() -> dict[str, bytes]:
    """In the place of the index."""
    absent = {f"t{number}": f"model-{number}.safetensors" for number in range(20_000)}
    return {
        "an index of a million brackets": b'{"weight_map":' + b"[" * _MANY,
        "an index of 20,000 files": json.dumps({"weight_map": absent}).encode(),
        "a total of 400 digits": b'{"metadata":{"total_size":1'
        + b"0" * 400
        + b'},"weight_map":{}}',
        "an index without an end": b'{"weight_map":{"' + b"x" * _MANY,
        "no index": b"",
    }


def _of_a_rank(sharding: str) -> bytes:
    described = json.loads(_entry([2, 3], 24))
    header = {"__metadata__": {"DCP_SHARDING_INFO": sharding}, **described}
    return _file(json.dumps(header).encode())


def files_of_ranks() -> dict[str, bytes]:
    """In the place of a rank's file."""
    far = json.dumps({"w": {"saved_offsets": [1 << 62, 0]}})
    return {
        "a part at 2^62 of its tensor": _of_a_rank(far),
        "a part with 300,000 offsets": _of_a_rank(
            json.dumps({"w": {"saved_offsets": [0] * 300_000}})
        ),
        "parts in 900,000 brackets": _of_a_rank("[" * 900_000),
    }


def plant(directory: Path) -> dict[str, Path]:
    """What each bomb is, and the directory in which it lies."""
    planted = {}
    named = [("model.safetensors", files()), (INDEX, indices()), (_OF_A_RANK, files_of_ranks())]
    for file, bombs in named:
        for name, bomb in bombs.items():
            place = directory / str(len(planted))
            place.mkdir(parents=True)
            (place / file).write_bytes(bomb)
            planted[name] = place
    return planted


__all__ = ["files", "files_of_ranks", "indices", "make_template", "plant"]
