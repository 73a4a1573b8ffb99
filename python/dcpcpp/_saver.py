"""The saver: a process beside this one that saves what it stages (`dcp/saver.h`).

It is libdcp's own program, which has no Python, and nothing of the trainer's but the memory
of the staged states.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from dcpcpp import _core
from dcpcpp._native_path import is_plain_files
from dcpcpp._watch import heartbeat_timeout

logger = logging.getLogger("dcpcpp")

# Reentrant, because a signal handler may run, or raise, in a thread that has it.
_mutex = threading.RLock()
_saver: _core.Saver | None = None


def saver_program() -> str:
    """The path of the program that saves; for `dcp::SaverOptions`, too.

    Raises:
        FileNotFoundError: this installation has none.
    """
    path = Path(_core.__file__).parent / "libexec" / "dcpcpp_saver"
    if not path.exists():
        raise FileNotFoundError(f"{path}: dcpcpp was installed without its program that saves")
    return str(path)


def process_saver() -> _core.Saver:
    """The saver of this process, which is kept from save to save; its program may not run yet."""
    global _saver
    with _mutex:
        if _saver is None:
            _saver = _core.Saver(saver_program(), heartbeat_timeout())
        return _saver


def warn_if_in_threads(staged: _core.StagedState) -> None:
    """Log that a save was not the saver's, as it was to be, because a rank's state did not fit."""
    if staged.sharing_error:
        logger.warning("AsyncCheckpointerType.PROCESS: %s", staged.sharing_error)


def release_saver_memory() -> None:
    """Give the memory that no staged state uses back to the system."""
    if _saver is not None:
        _saver.release_memory()


def require_saved_by_process(writer: Any, *, is_native: bool) -> None:
    """Raise a ValueError if another process cannot save with the storage and the planner."""
    if is_native and is_plain_files(writer):
        return
    raise ValueError(
        "AsyncCheckpointerType.PROCESS needs dcpcpp's or torch's own planner and FileSystemWriter: "
        f"{type(writer).__name__}, or the planner, can only work in this process. "
        "Use AsyncCheckpointerType.THREAD"
    )


def _forget() -> None:
    """In a forked process, whose parent has the saver."""
    global _saver, _mutex
    _saver, _mutex = None, threading.RLock()


os.register_at_fork(after_in_child=_forget)
