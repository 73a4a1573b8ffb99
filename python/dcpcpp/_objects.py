"""Leaves that are not tensors: written by `torch.save`, read without running code."""

from __future__ import annotations

import inspect
import io
import pickle
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from dcpcpp import _plain_unpickler
from dcpcpp._trust import allows_pickle

_T = TypeVar("_T")


def drained(items: list[_T]) -> Iterator[_T]:
    """Yield `items` in their order; the list holds none of them when it was yielded."""
    items.reverse()
    while items:
        yield items.pop()


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
        return _plain_unpickler.load(data)
    except pickle.UnpicklingError as error:
        if allows_pickle(allow_pickle):
            return torch.load(io.BytesIO(data), weights_only=False)
        raise pickle.UnpicklingError(_refusal(key, error)) from None


_warned: set[tuple[str, str]] = set()  # key, class


def warn_of_classes(data: bytes, key: str) -> None:
    """Warn, once for a key and class, if `data` will be loaded with allow_pickle=True only."""
    classes = _plain_unpickler.foreign_globals(data)
    if not classes or (key, classes[0]) in _warned:
        return
    _warned.add((key, classes[0]))
    warnings.warn(
        f"the object {key!r} holds {classes[0]}, which is not known to be harmless: it will be "
        "loaded only with allow_pickle=True, or after its class was registered with "
        "torch.serialization.add_safe_globals",
        stacklevel=_level_of_caller(),
    )


def _level_of_caller() -> int:
    """The stacklevel, for whoever calls this, of the first frame neither ours nor torch's."""
    level = 1
    frame = inspect.currentframe()
    frame = frame.f_back if frame is not None else None
    while frame is not None and frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("dcpcpp", "torch"):
            break
        frame, level = frame.f_back, level + 1
    return level


def _refusal(key: str, error: pickle.UnpicklingError) -> str:
    reason = str(error).strip().split("\n", 1)[0]
    reason, is_class, _ = reason.partition(" was not an allowed global")
    advice = "register its class with torch.serialization.add_safe_globals, or " if is_class else ""
    return (
        f"the object {key!r} is not loaded, because it could run code: {reason}. If you trust the "
        f"file, {advice}pass allow_pickle=True"
    )
