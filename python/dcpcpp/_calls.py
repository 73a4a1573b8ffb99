"""What the calls of torch have in common: how they take arguments, and a state dict."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.stateful import Stateful

_Function = TypeVar("_Function", bound=Callable[..., Any])


def accept_second_positional(function: _Function) -> _Function:
    """Take a second positional argument as the storage, as torch does, with its warning."""
    keyword = next(
        name
        for name in inspect.signature(function).parameters
        if name in ("storage_writer", "storage_reader")
    )

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 2:
            warnings.warn(
                f"The argument order of {function.__name__} has been changed. "
                "Please check the document to avoid future breakages.",
                stacklevel=2,
            )
            if keyword in kwargs:
                raise AssertionError(f"{keyword} in kwargs: {(args, kwargs)}")
            kwargs[keyword] = args[1]
            args = args[:1]
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]  # the same signature


def runs_alone(no_dist: bool, verb: str, stacklevel: int) -> bool:
    """Whether no group is there, or wanted; the former with torch's warning."""
    if not (no_dist or not dist.is_available() or not dist.is_initialized()):
        return False
    warnings.warn(
        "torch.distributed is disabled, unavailable or uninitialized, assuming the intent is to "
        f"{verb} in a single process.",
        stacklevel=stacklevel,
    )
    return True


def require_state_dict(value: object) -> None:
    """Raise a TypeError for what is no mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"state_dict must be a dict, not a {type(value).__name__}")


def is_stateful(value: object) -> bool:
    """Whether `value` has a state_dict() to ask for."""
    # Checking a runtime protocol costs microseconds; most values are tensors.
    return not isinstance(value, torch.Tensor) and isinstance(value, Stateful)


def stateful_to_state_dict(state_dict: dict[str, Any]) -> dict[str, Any]:
    """A shallow copy in which `Stateful` values are replaced by their state."""
    # Mostly there are thousands of values, and all are tensors.
    if all(issubclass(kind, torch.Tensor) for kind in set(map(type, state_dict.values()))):
        return dict(state_dict)
    return {
        key: value.state_dict() if is_stateful(value) else value
        for key, value in state_dict.items()
    }
