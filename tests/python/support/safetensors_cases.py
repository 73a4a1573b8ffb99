"""Safetensors files at the edges of the format, and who reads them."""

from __future__ import annotations

import json
import struct
from typing import Literal

# "reference": only safetensors does; we refuse what the format's text forbids, or what no
# tensor can be.
Readers = Literal["both", "reference", "none"]


def framed(text: str | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with the header `text`, which may say that it has another length."""
    header = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def described(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    """What a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def of_tensors(data: bytes, **tensors: dict[str, object]) -> bytes:
    """A file with these tensors, in compact JSON."""
    return framed(json.dumps(tensors, separators=(",", ":")), data)


def one(dtype: str = '"U8"', shape: str = "[1]", place: str = "[0,1]", more: str = "") -> str:
    """The header of one tensor, from pieces of JSON."""
    return f'{{"t":{{"dtype":{dtype},"shape":{shape},"data_offsets":{place}{more}}}}}'


U8 = described("U8", [1], 0, 1)
U8_TEXT = json.dumps(U8)


def _lengths() -> dict[str, tuple[bytes, Readers]]:
    return {
        "nothing at all": (b"", "none"),
        "seven bytes": (bytes(7), "none"),
        "a length of zero": (framed(""), "none"),
        "a length beyond the file": (framed("{}", length=1000), "none"),
        "the largest length": (framed("{}", length=2**64 - 1), "none"),
        "a length of the limit, file too short": (framed("{}", length=100_000_000), "none"),
        "a length of the limit and one": (framed("{}", length=100_000_001), "none"),
        "a length that cuts the header": (framed("{}", length=1), "none"),
        "no tensors": (framed("{}"), "both"),
        "no tensors, and data": (framed("{}", b"d"), "none"),
    }


def _texts() -> dict[str, tuple[bytes, Readers]]:
    return {
        "a byte that is no UTF-8": (framed(b"\xff"), "none"),
        "an overlong name": (framed(b'{"\xc0\xaf":' + U8_TEXT.encode() + b"}", b"d"), "none"),
        "half an object": (framed("{"), "none"),
        "a list": (framed("[]"), "none"),
        "null": (framed("null"), "none"),
        "spaces before": (framed(" \t\r\n{}"), "both"),
        "spaces behind": (framed("{} \t\r\n"), "both"),
        "zeros behind": (framed("{}\0\0"), "none"),
        "a letter behind": (framed("{}x"), "none"),
        "two objects": (framed("{}{}"), "none"),
        "a byte order mark": (framed(b"\xef\xbb\xbf{}"), "none"),
        "a comment": (framed("{/* none */}"), "none"),
        "a comma too much": (framed(f'{{"t":{U8_TEXT},}}', b"d"), "none"),
        "single quotes": (framed(f"{{'t':{U8_TEXT}}}", b"d"), "none"),
        "half a surrogate pair": (framed(f'{{"\\ud800":{U8_TEXT}}}', b"d"), "none"),
        "the other half": (framed(f'{{"\\udc00":{U8_TEXT}}}', b"d"), "none"),
        "a control character": (framed(f'{{"t\x01":{U8_TEXT}}}', b"d"), "none"),
        "DEL in a name": (framed(f'{{"t\x7f":{U8_TEXT}}}', b"d"), "both"),
        "an escaped zero in a name": (framed(f'{{"t\\u0000":{U8_TEXT}}}', b"d"), "both"),
        "no name": (framed(f'{{"":{U8_TEXT}}}', b"d"), "both"),
        "a name in many ways": (framed(f'{{"é\\u00e9\\ud83d\\ude00😀":{U8_TEXT}}}', b"d"), "both"),
        "the deepest nesting": (framed(one(more=',"x":' + "[" * 125 + "]" * 125), b"d"), "both"),
        "nesting beyond": (framed(one(more=',"x":' + "[" * 126 + "]" * 126), b"d"), "none"),
        "NaN": (framed(one(more=',"x":NaN'), b"d"), "none"),
        "a float that is too large": (framed(one(more=',"x":1e999'), b"d"), "none"),
    }


def _names() -> dict[str, tuple[bytes, Readers]]:
    return {
        "a tensor twice": (framed(f'{{"t":{U8_TEXT},"t":{U8_TEXT}}}', b"d"), "reference"),
        "a tensor twice, escaped once": (
            framed(f'{{"t":{U8_TEXT},"\\u0074":{U8_TEXT}}}', b"d"),
            "reference",
        ),
        "two shapes of one tensor": (
            framed(f'{{"t":{U8_TEXT},"t":{json.dumps(described("I8", [2], 0, 2))}}}', b"dd"),
            "reference",
        ),
        "metadata twice": (framed('{"__metadata__":{},"__metadata__":{}}'), "none"),
        "a key twice in metadata": (
            framed('{"__metadata__":{"k":"1","k":"2"}}'),
            "reference",
        ),
        "a field twice": (framed(one(more=',"dtype":"U8"'), b"d"), "none"),
        "a key twice in what nobody reads": (
            framed(one(more=',"x":{"y":1,"y":2}'), b"d"),
            "reference",
        ),
        "one more field": (framed(one(more=',"x":{"y":[1.5,null]}'), b"d"), "both"),
        "metadata": (framed('{"__metadata__":{"k":"v","":""}}'), "both"),
        "empty metadata": (framed('{"__metadata__":{}}'), "both"),
        "metadata null": (framed('{"__metadata__":null}'), "both"),
        "metadata with a number": (framed('{"__metadata__":{"k":1}}'), "none"),
        "metadata with null": (framed('{"__metadata__":{"k":null}}'), "none"),
        "metadata in metadata": (framed('{"__metadata__":{"k":{"l":"m"}}}'), "none"),
        "a list as metadata": (framed('{"__metadata__":["k"]}'), "none"),
        "a tensor of metadata's name": (framed(f'{{"__metadata__":{U8_TEXT}}}', b"d"), "none"),
    }


def _fields() -> dict[str, tuple[bytes, Readers]]:
    return {
        "no place": (framed('{"t":{"dtype":"U8","shape":[1]}}', b"d"), "none"),
        "no shape": (framed('{"t":{"dtype":"U8","data_offsets":[0,1]}}', b"d"), "none"),
        "no type": (framed('{"t":{"shape":[1],"data_offsets":[0,1]}}', b"d"), "none"),
        "a list of fields": (framed('{"t":["U8",[1],[0,1]]}', b"d"), "reference"),
        "null as a tensor": (framed('{"t":null}'), "none"),
        "an unknown type": (framed(one('"F128"', place="[0,16]"), bytes(16)), "none"),
        "a type in small letters": (framed(one('"u8"'), b"d"), "none"),
        "complex128": (framed(one('"C128"', place="[0,16]"), bytes(16)), "none"),
        "a type as an object": (framed(one('{"U8":null}'), b"d"), "reference"),
        "a negative size": (framed(one(shape="[-1]"), b"d"), "none"),
        "minus zero": (framed(one(shape="[-0]", place="[0,0]")), "none"),
        "a size with a point": (framed(one(shape="[1.0]"), b"d"), "none"),
        "a size with an exponent": (framed(one(shape="[1e0]"), b"d"), "none"),
        "true as a size": (framed(one(shape="[true]"), b"d"), "none"),
        "a size in quotes": (framed(one(shape='["1"]'), b"d"), "none"),
        "null as a shape": (framed(one(shape="null"), b"d"), "none"),
        "a size of 2^64": (framed(one(shape="[18446744073709551616]"), b"d"), "none"),
        "a size of 2^63 and none": (
            framed(one(shape="[9223372036854775808,0]", place="[0,0]")),
            "reference",
        ),
        "one offset": (framed(one(place="[0]"), b"d"), "none"),
        "three offsets": (framed(one(place="[0,1,2]"), b"d"), "none"),
        "a negative offset": (framed(one(place="[-1,0]"), b"d"), "none"),
        "65 dimensions": (framed(one(shape=json.dumps([1] * 65)), b"d"), "reference"),
        "64 dimensions": (framed(one(shape=json.dumps([1] * 64)), b"d"), "both"),
    }


def _places() -> dict[str, tuple[bytes, Readers]]:
    pair = described("U8", [2], 0, 2)
    return {
        "a gap at the start": (of_tensors(b"dd", t=described("U8", [1], 1, 2)), "none"),
        "a gap between": (of_tensors(b"ddd", a=U8, b=described("U8", [1], 2, 3)), "none"),
        "an overlap": (of_tensors(b"ddd", a=pair, b=described("U8", [2], 1, 3)), "none"),
        "one place for two": (of_tensors(b"dd", a=pair, b=pair), "none"),
        "data behind the last": (of_tensors(b"dd", a=U8), "none"),
        "data cut off": (of_tensors(b"d", a=pair), "none"),
        "an end before its begin": (of_tensors(b"d", a=U8, b=described("U8", [0], 1, 0)), "none"),
        "too little for the shape": (of_tensors(bytes(4), a=described("F32", [2], 0, 4)), "none"),
        "too much for the shape": (of_tensors(bytes(4), a=described("F32", [], 0, 8)), "none"),
        "the last first": (of_tensors(b"de", b=described("U8", [1], 1, 2), a=U8), "both"),
        "out of alignment": (of_tensors(b"defgh", a=U8, b=described("F32", [1], 1, 5)), "both"),
        "a scalar": (of_tensors(b"defg", t=described("F32", [], 0, 4)), "both"),
        "nothing in a tensor": (of_tensors(b"", t=described("F32", [2, 0], 0, 0)), "both"),
        "three at one place, one with data": (
            of_tensors(b"d", c=U8, b=described("I64", [0], 0, 0), a=described("U8", [0], 0, 0)),
            "both",
        ),
        "nothing at the end": (of_tensors(b"d", a=U8, b=described("I64", [0], 1, 1)), "both"),
        "sizes that overflow": (
            of_tensors(bytes(16), t=described("I32", [2, 2**64 - 2], 0, 16)),
            "none",
        ),
        "sizes that overflow, and none first": (
            of_tensors(b"", t=described("I32", [0, 2**62, 2**62], 0, 0)),
            "reference",
        ),
        "sizes that overflow, and none last": (
            of_tensors(b"", t=described("I32", [2**62, 2**62, 0], 0, 0)),
            "none",
        ),
        "bytes that overflow": (of_tensors(b"", t=described("I64", [2**62], 0, 0)), "none"),
    }


def _packed() -> dict[str, tuple[bytes, Readers]]:
    return {
        "half a byte too much": (of_tensors(b"de", t=described("F4", [3], 0, 2)), "none"),
        "four halves": (of_tensors(b"de", t=described("F4", [4], 0, 2)), "both"),
        "one half": (of_tensors(b"d", t=described("F4", [], 0, 1)), "none"),
        "four of six bits": (of_tensors(b"def", t=described("F6_E2M3", [4], 0, 3)), "both"),
        "two of six bits": (of_tensors(b"de", t=described("F6_E3M2", [2], 0, 2)), "none"),
        "scales": (of_tensors(b"de", t=described("F8_E8M0", [2], 0, 2)), "both"),
        "complex": (of_tensors(b"defghijk", t=described("C64", [1], 0, 8)), "both"),
    }


def cases() -> dict[str, tuple[bytes, Readers]]:
    """Each file, and who reads it, by what is peculiar about it."""
    return {**_lengths(), **_texts(), **_names(), **_fields(), **_places(), **_packed()}
