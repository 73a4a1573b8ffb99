"""Write what torch's `copy_` makes of every element type as every other.

    python tests/golden/make_cast_golden.py

makes `cast-torch-<version>.bin` beside this script, which
`tests/cpp/base/cast_test.cc` reads. Run on x86-64: where a value does not fit
an integer type, torch gives what the CPU gives.

The file is `b"DCPCAST1"`, then records (little-endian): u8 kind, u8 source
type, u8 destination type (codes of `dcp/dtype.h`), u32 count, and

- kind 0: the source elements, the converted elements;
- kind 1: u32 crc32 of the source elements, u32 crc32 of the converted ones. The
  sources are all codes of an 8- or 16-bit type, else `pseudo_random(...)`.

NaNs are replaced by one NaN of each type: their payload depends on torch's code
path. So does a float that does not fit uint32 when arrays are converted; the
golden value is that of a one-element copy, which is the same everywhere.
"""

import pathlib
import struct
import sys
import warnings
import zlib

import numpy as np
import torch

NAMES = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "bool",
    "complex32",
    "complex64",
    "complex128",
    "uint16",
    "uint32",
    "uint64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
RANDOM_COUNT = 16384

# The parts of complex types, and the bits of a part's NaNs: (magnitude mask,
# largest magnitude that is not a NaN, the NaN to use).
PARTS = {
    "complex32": "float16",
    "complex64": "float32",
    "complex128": "float64",
}
NANS = {
    "float64": (2**63 - 1, 0x7FF << 52, 0x7FF8 << 48),
    "float32": (2**31 - 1, 0xFF << 23, 0x7FC0 << 16),
    "float16": (0x7FFF, 0x7C00, 0x7E00),
    "bfloat16": (0x7FFF, 0x7F80, 0x7FC0),
    "float8_e4m3fn": (0x7F, 0x7E, 0x7F),
    "float8_e5m2": (0x7F, 0x7C, 0x7F),
}


def part_name(name):
    return PARTS.get(name, name)


def item_size(name):
    return torch.empty(0, dtype=getattr(torch, name)).element_size()


def part_size(name):
    return item_size(part_name(name))


def to_tensor(data, name):
    return torch.frombuffer(bytearray(data), dtype=getattr(torch, name))


def to_bytes(tensor, name):
    """The bytes of `tensor`, all NaNs alike."""
    data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    if part_name(name) not in NANS:
        return data
    mask, largest, nan = NANS[part_name(name)]
    bits = np.frombuffer(data, f"<u{part_size(name)}").copy()
    bits[(bits & bits.dtype.type(mask)) > largest] = nan
    return bits.tobytes()


def convert(data, source, destination):
    values = to_tensor(data, source)
    result = torch.empty(values.numel(), dtype=getattr(torch, destination))
    if destination == "uint32" and (values.is_floating_point() or values.is_complex()):
        for i in range(values.numel()):
            result[i : i + 1].copy_(values[i : i + 1])
    else:
        result.copy_(values)
    return to_bytes(result, destination)


def splitmix64(count):
    """The first `count` numbers of splitmix64 from state 0."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def pseudo_random(name, count):
    """Elements of a wide type: all bit patterns, and many moderate values."""
    parts = count * (item_size(name) // part_size(name))
    words = splitmix64(parts)
    odd = np.arange(parts) % 2 == 1
    if part_name(name) == "float64":
        exponent = np.uint64(1023 - 70) + (words >> np.uint64(32)) % np.uint64(140)
        near = (words & np.uint64((1 << 63) | ((1 << 52) - 1))) | (exponent << np.uint64(52))
        words = np.where(odd, near, words)
    elif part_name(name) == "float32":
        exponent = np.uint64(127 - 70) + (words >> np.uint64(32)) % np.uint64(140)
        near = (words & np.uint64((1 << 31) | ((1 << 23) - 1))) | (exponent << np.uint64(23))
        words = np.where(odd, near, words)
    elif "int" in name:
        shift = words & np.uint64(63)
        words = (words.view(np.int64) >> shift.view(np.int64)).view(np.uint64)
    return words.astype(f"<u{part_size(name)}").tobytes()


def special_values(name):
    """Limits, ties and neighbours, as elements of `name`."""
    exact = [0, 1, 2, 3, 127, 128, 129, 255, 256, 257, 2047, 2049, 32767, 32768]
    exact += [65503, 65504, 65519, 65520, 65535, 65536, 2**24 + 1, 2**31 - 1]
    exact += [2**31, 2**32 - 1, 2**32, 2**40 + 123, 2**53 + 1, 2**62 + 1]
    exact += [2**63 - 1, 2**63, 2**64 - 1]
    if "int" in name:
        size = item_size(name)
        values = exact + [-v for v in exact]
        return b"".join((v % 2 ** (8 * size)).to_bytes(size, "little") for v in values)
    floats = [float(v) for v in exact] + [
        0.5,
        1.5,
        2.5,
        0.1,
        240,
        248,
        448,
        464,
    ]
    floats += [57344, 61440, 2.0**64, 1e30, 3.4028235e38, 3.4028236e38, 1e300]
    floats += [1e-7, 2.0**-24, 2.0**-25, 2.0**-127, 1e-40, 1e-45, 1e-320]
    floats += [float("inf"), float("nan")]
    floats += [-v for v in floats]
    numbers = torch.tensor(floats, dtype=torch.float64)
    if name in PARTS:
        numbers = torch.complex(numbers, numbers.flip(0))
    return to_bytes(numbers.to(getattr(torch, name)), name)


def records():
    for source in NAMES:
        size = item_size(source)
        if source == "bool":
            shown, hashed = bytes([0, 1]), b""
        elif size <= 2:
            shown = b"" if size == 2 else bytes(range(256))
            hashed = np.arange(2 ** (8 * size)).astype(f"<u{size}").tobytes()
        else:
            shown = special_values(source)
            hashed = pseudo_random(source, RANDOM_COUNT)
        for destination in NAMES:
            head = bytes([NAMES.index(source) + 1, NAMES.index(destination) + 1])
            if source == destination:
                continue
            if shown:
                result = convert(shown, source, destination)
                count = struct.pack("<I", len(shown) // size)
                yield b"\0" + head + count + shown + result
            if size > 1:
                result = convert(hashed, source, destination)
                yield (
                    b"\1"
                    + head
                    + struct.pack(
                        "<III",
                        len(hashed) // size,
                        zlib.crc32(hashed),
                        zlib.crc32(result),
                    )
                )


def main():
    warnings.simplefilter("ignore")
    version = torch.__version__.split("+")[0]
    path = pathlib.Path(__file__).parent / f"cast-torch-{version}.bin"
    path.write_bytes(b"DCPCAST1" + b"".join(records()))
    print(path, path.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
