"""Leaves that are not tensors: written by `torch.save`, read without running code."""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import decimal
import fractions
import io
import pathlib
import pickle
import types
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from dcpcpp import _plain_unpickler
from dcpcpp._trust import allows_pickle


def encode(value: object) -> bytes:
    """`value` as torch stores it: a `torch.save` of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def decode(data: bytes, key: str, *, allow_pickle: bool | None) -> Any:
    """The object in `data`.

    Args:
        data: what `encode` or torch wrote.
        key: its flat key, for messages.
        allow_pickle: fall back to Python's pickle, which runs code of the file's
            choice. None: as `options` says.

    Raises:
        pickle.UnpicklingError: the object needs a class that is not known to be
            harmless, and pickle is not allowed.
    """
    try:
        with _known_globals():
            return _load_plain(data)
    except pickle.UnpicklingError as error:
        if allows_pickle(allow_pickle):
            return torch.load(io.BytesIO(data), weights_only=False)
        raise pickle.UnpicklingError(_refusal(key, error)) from None


_warned: set[tuple[str, str]] = set()  # key, class


def warn_of_classes(data: bytes, key: str) -> None:
    """Warn, once for a key and class, if `data` will be loaded with allow_pickle=True only."""
    with _known_globals():
        classes = _plain_unpickler.foreign_globals(data)
    if not classes or (key, classes[0]) in _warned:
        return
    _warned.add((key, classes[0]))
    warnings.warn(
        f"the object {key!r} holds {classes[0]}, which is not known to be harmless: it will be "
        "loaded only with allow_pickle=True, or after its class was registered with "
        "torch.serialization.add_safe_globals",
        stacklevel=7,
    )


def _load_plain(data: bytes) -> Any:
    try:
        return torch.load(io.BytesIO(data), map_location=None, weights_only=True)
    except pickle.UnpicklingError:
        if not hasattr(torch.serialization, "safe_globals"):
            raise
    return _plain_unpickler.load(data)


def _refusal(key: str, error: pickle.UnpicklingError) -> str:
    # What torch says beyond these words is advice about torch.load.
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().split("\n", 1)[0]
    reason, is_class, _ = reason.partition(" was not an allowed global")
    advice = "register its class with torch.serialization.add_safe_globals, or " if is_class else ""
    return (
        f"the object {key!r} is not loaded, because it could run code: {reason}. If you trust the "
        f"file, {advice}pass allow_pickle=True"
    )


@contextlib.contextmanager
def _known_globals() -> Iterator[None]:
    serialization: Any = torch.serialization
    if not hasattr(serialization, "safe_globals"):  # torch < 2.5
        yield
        return
    with serialization.safe_globals(_harmless_globals()):
        yield


_harmless: list[Any] = []


def _harmless_globals() -> list[Any]:
    """Plain data types that trainers keep in their state, beyond torch's own list.

    Not range: a list of one is any number of bytes from a few.
    """
    if not _harmless:
        _harmless.extend(
            [
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
                bool,
                bytes,
                dict,
                float,
                frozenset,
                int,
                list,
                set,
                slice,
                str,
                tuple,
            ]
        )
        _harmless.extend(_numpy_globals())
    return _harmless


def _numpy_globals() -> list[Any]:
    try:
        import numpy as np
    except ImportError:
        return []
    multiarray = getattr(np, "_core", None) or np.core
    reconstruct = multiarray.multiarray._reconstruct
    scalar = multiarray.multiarray.scalar
    names: list[Any] = [np.ndarray, np.dtype, reconstruct, scalar]
    # The same functions under the module names of numpy 1 and numpy 2.
    for function in (reconstruct, scalar):
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            names.append((function, f"{module}.{function.__name__}"))
    dtypes = getattr(np, "dtypes", None)
    names.extend(
        value
        for name, value in vars(dtypes).items()
        if name.endswith("DType") and isinstance(value, type)
    )
    return names
