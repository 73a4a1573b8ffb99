"""Whether objects of any class may be loaded: what was said for a call, a block, a process."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_in_block: contextvars.ContextVar[bool | None] = contextvars.ContextVar(
    "dcpcpp_allow_pickle", default=None
)
_in_process = False


@contextlib.contextmanager
def options(*, allow_pickle: bool) -> Iterator[None]:
    """Settings for the calls of dcpcpp within the block, in this thread or task.

    For code that calls `load` through layers that do not pass arguments on. An argument
    of the call itself comes first.

    Args:
        allow_pickle: load objects of any class, running what code the file names.

    Example:
        >>> with dcpcpp.options(allow_pickle=True):
        ...     trainer.resume()
    """
    token = _in_block.set(allow_pickle)
    try:
        yield
    finally:
        _in_block.reset(token)


def allowing(argument: bool | None) -> contextlib.AbstractContextManager[None]:
    """Around a call with this argument, None if it had none."""
    return contextlib.nullcontext() if argument is None else options(allow_pickle=argument)


def allow_in_process(allow_pickle: bool) -> bool:
    """Set what counts where nothing else was said; returns what counted before."""
    global _in_process
    before, _in_process = _in_process, allow_pickle
    return before


def allows_pickle(argument: bool | None) -> bool:
    """What counts for a call with this argument, None if it had none."""
    if argument is not None:
        return argument
    in_block = _in_block.get()
    return _in_process if in_block is None else in_block
