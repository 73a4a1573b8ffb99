"""Values of plain data, such as trainers keep beside their tensors."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import io
import pathlib
import random
import types
import uuid
import zipfile
from typing import Any

import numpy as np
import torch


def arrays() -> dict[str, Any]:
    """Arrays and scalars of numpy."""
    codes = ["?", *"bBhHiIlLefdgFDG", "S3", "U3", "V5", "M8[ns]", "m8[25s]", ">f8", ">U2"]
    zeros = {f"zeros {code}": np.zeros((2, 3), code) for code in codes}
    record = np.dtype([("a", "i1"), ("b", ">f8", (2,)), ("c", [("d", "U2"), ("e", "M8[D]")])])
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    titled = np.dtype({"names": ["a"], "formats": ["f8"], "titles": ["T"], "offsets": [4]})
    mixed = np.zeros(2, [("o", "O"), ("f", "f4"), ("s", "i2", (2,))])
    mixed[1] = ([1, 2], 2.5, (3, 4))
    nested = np.empty(3, object)
    nested[:] = [None, [1, 2], np.arange(2)]
    return {
        **zeros,
        "scalars": [array.flat[0] for array in zeros.values()],
        "record": np.ones(3, record),
        "record scalar": np.ones(3, record)[1],
        "aligned": np.ones(3, aligned),
        "titled": np.ones(2, titled),
        "mixed": mixed,
        "objects": np.array([[1, "a"], [None, 2.5]], object),
        "fortran objects": np.asfortranarray(np.array([[1, "a", 3], [None, 2.5, 4]], object)),
        "nested": nested,
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(20)[::3],
        "no unit": np.array(["NaT"], "M8"),
        "no dimensions": np.array(5),
        "empty": np.zeros((0, 3)),
        "empty records": np.zeros(0, record),
        "empty texts": [np.str_(""), np.bytes_(b"")],
        "dtypes": [record, aligned, np.dtype("M8[ms]"), np.dtype("f4")],
        "shared dtype": [np.ones(2, record), np.zeros(3, record)],
    }


def generators() -> dict[str, Any]:
    """States of generators of random numbers."""
    return {
        "numpy rng": np.random.default_rng(1).bit_generator.state,
        "numpy's old rng": np.random.RandomState(1).get_state(),
        "python rng": random.Random(1).getstate(),
        "torch rng": (torch.get_rng_state(),),
    }


def values() -> dict[str, Any]:
    """One of each kind, by name."""
    shared = [1]
    ordered = collections.OrderedDict(a=1)
    ordered.note = "an attribute"  # type: ignore[attr-defined]  # as in state_dict()._metadata
    itself: list[Any] = []
    itself.append(itself)
    zone = datetime.timezone(datetime.timedelta(hours=2), "CEST")
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=zone)
    return {
        **arrays(),
        **generators(),
        "numbers": [0, -1, 255, 1 << 40, -(1 << 3000), 0.5, float("inf"), 1j, True, None],
        "texts": ["", "a", "grüße", "x" * 1000, "\ud800"],
        "bytes": [b"", b"a", bytes(range(256)), b"b" * 1000],
        "bytearrays": [bytearray(), bytearray(range(256)), bytearray(1000)],
        "sets": [set(), {1, "a", (2, 3)}, frozenset(), frozenset({frozenset({1}), 2})],
        "ordered": ordered,
        "counter": collections.Counter("abca"),
        "defaultdict": collections.defaultdict(list, {1: [2], (3, (4, 5)): []}),
        "no factory": collections.defaultdict(None, {1: 2}),
        "deque": [collections.deque(), collections.deque([1], 3), collections.deque([1, shared])],
        "namespaces": [argparse.Namespace(a=1, b=shared), types.SimpleNamespace(), shared],
        "paths": [
            pathlib.Path("/a/b"),
            pathlib.PurePosixPath("."),
            pathlib.PureWindowsPath("c:/a"),
        ],
        "times": [moment, moment.date(), moment.timetz(), moment.time(), zone, zone.utc],
        "durations": [datetime.timedelta(-1, 2, 3), datetime.timedelta.max],
        "decimals": [decimal.Decimal(text) for text in ("1.10", "-Infinity", "1e99")],
        "fractions": [fractions.Fraction(1, 3), fractions.Fraction(-(10**300))],
        "uuids": {uuid.UUID(int=5): uuid.UUID(int=(1 << 128) - 1)},
        "slices": [slice(None), slice(1, None, -2)],
        "stream": io.BytesIO(b"state"),
        "tensors": [torch.ones(2), torch.arange(6).reshape(2, 3).T, torch.tensor(1.0)[None]],
        "torch's own": [torch.Size([2, 3]), torch.device("cpu"), torch.bfloat16, torch.strided],
        "other tensors": [torch.eye(3).to_sparse(), torch.nn.Parameter(torch.ones(2))],
        "itself": itself,
    }


def pickled(value: object, protocol: int) -> bytes:
    """`data.pkl` of a `torch.save`."""
    stream = io.BytesIO()
    torch.save(value, stream, pickle_protocol=protocol)
    with zipfile.ZipFile(stream) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))


def require_same(loaded: Any, value: Any) -> None:
    """They are equal, and of the same types, through all levels."""
    assert type(loaded) is type(value)
    if isinstance(value, np.ndarray):
        assert (loaded.dtype, loaded.shape) == (value.dtype, value.shape)
        assert loaded.flags.writeable
        if value.dtype.hasobject or value.dtype.names:  # there may be padding
            require_same(loaded.tolist(), value.tolist())
        else:
            assert loaded.tobytes() == value.tobytes()
            assert loaded.flags.f_contiguous == value.copy("K").flags.f_contiguous
    elif isinstance(value, torch.Tensor):
        assert torch.equal(loaded.to_dense(), value.to_dense())
        assert loaded.stride() == value.stride() if not value.is_sparse else loaded.is_sparse
    elif isinstance(value, np.void):
        assert (loaded.dtype, repr(loaded)) == (value.dtype, repr(value))
    elif isinstance(value, io.BytesIO):
        assert loaded.__getstate__() == value.__getstate__()
    elif isinstance(value, (list, tuple, collections.deque)):
        assert len(loaded) == len(value)
        for one, other in zip(loaded, value, strict=True):
            if other is not value:
                require_same(one, other)
    elif isinstance(value, dict):
        assert list(loaded) == list(value)
        require_same(list(loaded.values()), list(value.values()))
    elif isinstance(value, (set, frozenset)):
        assert loaded == value
    elif value == value:
        assert repr(loaded) == repr(value)
        assert loaded == value
