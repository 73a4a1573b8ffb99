"""Pickles of objects that crash a careless reader, or take its memory or its time."""

from __future__ import annotations

import io
import struct
import zipfile


def archive(pickled: bytes, storage: bytes = b"") -> bytes:
    """What `torch.save` makes, around another pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/data/0", storage)
        file.writestr("archive/version", "3\n")
    return stream.getvalue()


def _name(full_name: str) -> bytes:
    module, _, name = full_name.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _call(function: str, *arguments: bytes) -> bytes:
    return _name(function) + _tuple(*arguments) + b"R"


def _builtin(name: str, *arguments: bytes) -> bytes:
    return _call(f"builtins.{name}", *arguments)


def _raw(text: str) -> bytes:
    return _call("_codecs.encode", _text(text), _text("latin1"))


def _dtype(kind: str, *state: bytes) -> bytes:
    """`state`: from the byte order on."""
    made = _call("numpy.dtype", _text(kind), b"\x89", b"\x88")
    return made + _tuple(_int(3), *state) + b"b"


def _simple_dtype(kind: str, nbytes: int, flags: int) -> bytes:
    return _dtype(kind, _text("|"), b"N", b"N", b"N", _int(nbytes), _int(nbytes), _int(flags))


def _array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    made = _call(
        "numpy.core.multiarray._reconstruct", _name("numpy.ndarray"), _tuple(_int(0)), _raw("b")
    )
    return made + _tuple(_int(1), shape, dtype, b"\x89", data) + b"b"


def _doubling(levels: int) -> bytes:
    """A tuple of two that are one tuple of two, and so on."""
    steps = (b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]) for level in range(levels))
    return b"K\x01q\x00" + b"".join(steps)


_ONE = _tuple(_int(1))
_F8 = _simple_dtype("f8", -1, 0).replace(_text("|"), _text("<"))
_POINTERS = _simple_dtype("O8", 8, 0)  # 0: not "in a list"


def _fields(offset: int, nbytes: int, kind: bytes = _F8) -> bytes:
    fields = b"}" + _text("a") + kind + _int(offset) + b"\x86s"
    return _dtype(
        f"V{nbytes}",
        *(_text("|"), b"N", _text("a") + b"\x85", fields, _int(nbytes), _int(1), _int(16)),
    )


def _subarray(base: bytes, shape: int, nbytes: int) -> bytes:
    inner = base + _tuple(_int(shape)) + b"\x86"
    return _dtype(f"V{nbytes}", _text("|"), inner, b"N", b"N", _int(nbytes), _int(8), _int(0))


def _changed_later() -> bytes:
    """A dtype that gets another state when an array has it."""
    fields = b"}" + _text("a") + _simple_dtype("O8", -1, 63) + b"K\x00\x86s"
    names = _text("a") + b"\x85"
    state = _tuple(_int(3), _text("|"), b"N", names, fields, _int(8), _int(1), _int(27))
    array = _array(_ONE, _simple_dtype("V8", 8, 0) + b"q\x00", _raw("A" * 8))
    return array + b"q\x01" + b"h\x00" + state + b"b\x86"


def memory_corruption() -> dict[str, bytes]:
    """Give numpy or torch addresses, or places outside of what they have."""
    eight = _raw("A" * 8)
    reconstruct = _name("numpy.core.multiarray._reconstruct")
    tensor = _name("torch._tensor._rebuild_from_type_v2")
    state = _tuple(_int(1), _ONE, _simple_dtype("V8", 8, 0), b"\x89", eight)
    return {
        "an array of pointers": _array(_ONE, _POINTERS, eight),
        "a list of an array of pointers": _builtin("list", _array(_ONE, _POINTERS, eight)),
        "an array of pointers with good flags": _array(_ONE, _simple_dtype("O8", -1, 63), eight),
        "a scalar that is a pointer": _call("numpy.core.multiarray.scalar", _POINTERS, eight),
        "a field a GiB off": _array(_ONE, _fields(1 << 30, 8), eight),
        "a field before the item": _array(_ONE, _fields(-8, 8), eight),
        "a field of pointers": _array(_ONE, _fields(0, 8, _POINTERS), eight),
        "a large subarray": _array(_ONE, _subarray(_F8, 1 << 27, 8), eight),
        "a dtype that changes": _changed_later(),
        "more items than bytes": _array(_tuple(_int(1 << 20)), _F8, eight),
        "sizes whose product overflows": _array(_tuple(_int(1 << 61), _int(8)), _F8, eight),
        "a negative size": _array(_tuple(_int(-1)), _F8, eight),
        "an array's state by way of a tensor": tensor
        + _tuple(
            reconstruct,
            _name("numpy.ndarray"),
            _tuple(_name("numpy.ndarray"), _tuple(_int(0)), _raw("b")),
            state,
        )
        + b"R",
        "a character beyond Unicode": _array(_ONE, _text_dtype(), _raw("\xff\xff\xff\x7f")),
        "a storage beyond its record": _storage(1 << 40),
        "a view beyond its storage": _view(_int(1 << 40)),
        "a negative offset": _view(_int(2), offset=-1 << 40),
    }


def _text_dtype() -> bytes:
    return _dtype("U1", _text("<"), b"N", b"N", b"N", _int(4), _int(4), _int(8))


def _storage(numel: int) -> bytes:
    kind = _name("torch.FloatStorage")
    return _tuple(_text("storage"), kind, _text("0"), _text("cpu"), _int(numel)) + b"Q"


def _view(size: bytes, offset: int = 0) -> bytes:
    hooks = _call("collections.OrderedDict")
    sizes = (size + b"\x85", _int(1) + b"\x85")
    return _call(
        "torch._utils._rebuild_tensor_v2", _storage(6), _int(offset), *sizes, b"\x89", hooks
    )


def _equal_hashes(count: int) -> bytes:
    modulus = (1 << 61) - 1
    return b"}" + b"".join(
        b"\x8a\x0b" + (k * modulus).to_bytes(11, "little") + b"Ns" for k in range(1, count)
    )


def bombs() -> dict[str, bytes]:
    """Ask for much with few bytes."""
    many = _int(300_000_000)
    memory = _builtin("bytes", many)
    long = _text("a" * 10_000) + b"q\x00"
    return {
        "list(bytes(n))": _builtin("list", memory),
        "tuple(bytes(n))": _builtin("tuple", memory),
        "str(bytes(n))": _builtin("str", memory, _text("latin1")),
        "bytearray(n)": _builtin("bytearray", many),
        "bytes of a list": _builtin("bytes", b"](K\x01K\x02e"),
        "deque(bytes(n))": _call("collections.deque", memory),
        "Counter(bytearray(n))": _call("collections.Counter", _builtin("bytearray", many)),
        "Size(bytearray(n))": _call("torch.Size", _builtin("bytearray", many)),
        "set(bytes(n))": _builtin("set", memory),
        "Fraction(text)": _call("fractions.Fraction", _text("1e50000000")),
        "Fraction(Decimal)": _call(
            "fractions.Fraction", _call("decimal.Decimal", _text("1e20000000"))
        ),
        "int(text)": _builtin("int", _text("9" * 4000)),
        "ndarray of objects": _call("numpy.ndarray", _tuple(_int(1 << 28)), _text("O")),
        "ndarray, new": _name("numpy.ndarray") + _tuple(_tuple(many), _text("i1")) + b"\x81",
        "list of an array": _builtin("list", _call("numpy.ndarray", _tuple(many), _text("i1"))),
        "a dtype of 2 GiB": _array(_tuple(_int(0)), _simple_dtype("V2000000000", -1, 0), _raw("")),
        "a text of doubling tuples": _builtin("str", _doubling(26)),
        "a key of doubling tuples": b"}" + _doubling(40) + b"K\x01s",
        "doubling tuples in a set": _builtin("set", b"]" + _doubling(40) + b"a"),
        "doubling tuples in a dtype": _dtype("f8", *(_doubling(30),) * 7),
        "a key 1,000 tuples deep": b"}K\x01" + b"\x85" * 1000 + b"Ns",
        "one key, 10,000 times": b"}" + long + b"Ns" + b"h\x00Ns" * 10_000,
        "one text as bytes, 10,000 times": b"]("
        + _call("_codecs.encode", long, _text("latin1"))
        + _call("_codecs.encode", b"h\x00", _text("latin1")) * 10_000
        + b"e",
        "keys with one hash": _equal_hashes(20_000),
        "a bytearray of 2^40": b"\x96" + struct.pack("<Q", 1 << 40) + b"x",
        "marks, 100,000 deep": b"](" * 100_000 + b"e" * 100_000,
    }


def pickled(bodies: dict[str, bytes]) -> list[bytes]:
    """Each as `data.pkl`."""
    return [b"\x80\x02" + body + b"." for body in bodies.values()]
