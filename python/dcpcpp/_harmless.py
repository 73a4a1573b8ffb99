"""Classes of plain data that trainers keep in their state, beyond torch's own list."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import functools
import io
import pathlib
import types
import uuid
from typing import Any


@functools.cache
def harmless_globals() -> dict[str, Any]:
    """The classes, and functions that make them, by full name.

    Not range: a list of one is any number of bytes from a few.
    """
    classes: list[Any] = [
        argparse.Namespace,
        collections.defaultdict,
        collections.deque,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        fractions.Fraction,
        io.BytesIO,
        pathlib.PosixPath,
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
        types.SimpleNamespace,
        uuid.UUID,
        *(bool, bytes, dict, float, frozenset, int, list, set, slice, str, tuple),
    ]
    return {**{f"{c.__module__}.{c.__qualname__}": c for c in classes}, **_numpy_globals()}


def _numpy_globals() -> dict[str, Any]:
    try:
        import numpy as np
    except ImportError:
        return {}
    multiarray = getattr(np, "_core", None) or np.core
    reconstruct = multiarray.multiarray._reconstruct
    scalar = multiarray.multiarray.scalar
    names: dict[str, Any] = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    # The same functions under the module names of numpy 1 and numpy 2.
    for function in (reconstruct, scalar):
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            names[f"{module}.{function.__name__}"] = function
    dtypes = vars(getattr(np, "dtypes", types.SimpleNamespace()))
    for name, value in dtypes.items():
        if name.endswith("DType") and isinstance(value, type):
            names[f"{value.__module__}.{value.__qualname__}"] = value
    return names
