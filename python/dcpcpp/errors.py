"""The errors of dcpcpp, and the table from libdcp's status codes to them.

Nothing here needs torch. `save`, `load` and their relatives wrap what goes wrong
in a `CheckpointException` (torch's class, see `dcpcpp.CheckpointException`), whose
`.failures[rank]` holds one of the types below or a built-in one.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import errno
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcpcpp._core import Status

__all__ = [
    "CheckpointBusyError",
    "CheckpointCorruptedError",
    "CheckpointError",
    "StorageError",
]


class CheckpointError(Exception):
    """Base of the errors that only a checkpoint can have."""


class CheckpointCorruptedError(CheckpointError):
    """Stored bytes are not what was written: damaged, cut, mixed up or hostile.

    Attributes:
        path: the file, or None.
        byte_offset: where in the file, or None.
        nbytes: the length of the damaged range, or None.
        key: the flat key of the tensor or object, or None.
    """

    def __init__(
        self,
        message: str,
        path: str | None = None,
        byte_offset: int | None = None,
        nbytes: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.byte_offset = byte_offset
        self.nbytes = nbytes
        self.key = key

    def __reduce__(self) -> tuple[object, ...]:
        args = (str(self), self.path, self.byte_offset, self.nbytes, self.key)
        return (type(self), args)


class CheckpointBusyError(CheckpointError):
    """Another writer is at work on the same checkpoint."""


class StorageError(CheckpointError, OSError):
    """A file system of a third party failed; its own error is the `__cause__`.

    Attributes:
        path: what it failed on, or None.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type[StorageError], tuple[str, str | None]]:
        return (type(self), (str(self), self.path))


class RankFailuresError(Exception):
    """Failures of several ranks as libdcp reports them; becomes a CheckpointException."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


# absl::StatusCode -> exception type; include/dcp/status.h documents the table.
_BY_CODE: dict[str, type[Exception]] = {
    "INVALID_ARGUMENT": ValueError,
    "NOT_FOUND": FileNotFoundError,
    "ALREADY_EXISTS": FileExistsError,
    "PERMISSION_DENIED": PermissionError,
    "RESOURCE_EXHAUSTED": OSError,
    "UNKNOWN": OSError,
    "DATA_LOSS": CheckpointCorruptedError,
    "DEADLINE_EXCEEDED": TimeoutError,
    "ABORTED": CheckpointBusyError,
    "UNAVAILABLE": ConnectionError,
    "UNIMPLEMENTED": NotImplementedError,
    "CANCELLED": CancelledError,
    "FAILED_PRECONDITION": RuntimeError,
    "INTERNAL": RuntimeError,
}

_PYTHON_TYPE = "python:"

# Errors on their way through libdcp, which carries text only: this process takes its own
# ones out again, with their causes. A few, because not all of them arrive.
_on_the_way: collections.OrderedDict[str, BaseException] = collections.OrderedDict()
_MOST_ON_THE_WAY = 16


class _Stop(threading.local):
    """What is to stop this thread, a KeyboardInterrupt say, and has not been raised yet."""

    error: BaseException | None = None


_stop = _Stop()


@contextlib.contextmanager
def raising_stops() -> Iterator[None]:
    """Around calls of libdcp: Ctrl-C raises, whenever it comes.

    A signal handler runs in the next Python code of the main thread. That may be a call
    whose errors libdcp ignores, as when it tidies up.
    """
    _stop.error = None
    try:
        yield
    finally:
        error, _stop.error = _stop.error, None
        if error is not None:
            for ticket in [ticket for ticket, kept in _on_the_way.items() if kept is error]:
                del _on_the_way[ticket]  # with the frames that it refers to
            raise error


def raise_stop() -> None:
    """Raise what is to stop this thread, before it waits for others.

    Not before a rank tells the others of a commit: they would not know of it.
    """
    if _stop.error is not None:
        raise _stop.error


def exception_from_status(status: Status) -> BaseException:
    """The exception that stands for `status`, by the table of `dcp/status.h`."""
    if status.failures:
        return RankFailuresError(status)
    if status.op.startswith(_PYTHON_TYPE):
        return _foreign_exception(status)
    kind = _BY_CODE.get(status.code, RuntimeError)
    if status.code == "NOT_FOUND" and status.op == "lookup":
        return KeyError(status.message)
    if issubclass(kind, CheckpointCorruptedError):
        return kind(
            status.message,
            status.path or None,
            status.byte_offset,
            status.nbytes,
            status.key or None,
        )
    if status.errno == errno.ENOMEM and not status.path:
        return MemoryError(status.message)
    if issubclass(kind, OSError) and status.errno:
        return _os_error(status)
    return kind(status.message)


def _os_error(status: Status) -> OSError:
    # OSError.__str__ would rebuild the text from errno and filename; the status
    # says more (operation, offset, rank), so it becomes the strerror. OSError picks its
    # subclass by errno.
    error = OSError(status.errno, status.message)
    if status.path:
        error.filename = status.path
    return error


def status_fields_of(error: BaseException) -> tuple[str, str, str, int, str]:
    """Status code, message, op, errno and path that carry a Python error to other ranks."""
    for code, kind in _BY_CODE.items():
        if type(error) is not kind:
            continue
        if isinstance(error, OSError) and error.errno and error.strerror:
            path = error.filename if isinstance(error.filename, str) else ""
            return code, error.strerror, "", error.errno, path
        return code, _text(error), "", 0, ""
    op = _PYTHON_TYPE + type(error).__name__
    stops_the_rank = not isinstance(error, Exception)  # KeyboardInterrupt, SystemExit
    if stops_the_rank or isinstance(error, StorageError):
        ticket = uuid.uuid4().hex
        op += f":{ticket}"
        if stops_the_rank:
            _stop.error = error
        _on_the_way[ticket] = error
        if len(_on_the_way) > _MOST_ON_THE_WAY:
            _on_the_way.popitem(last=False)
    return "CANCELLED" if stops_the_rank else "FAILED_PRECONDITION", _text(error), op, 0, ""


def _text(error: BaseException) -> str:
    return str(error) or repr(error)


def _foreign_exception(status: Status) -> BaseException:
    """An error of Python, maybe another rank's: a built-in type keeps its type."""
    name, _, ticket = status.op.removeprefix(_PYTHON_TYPE).partition(":")
    if ticket in _on_the_way:
        error = _on_the_way.pop(ticket)
        if error is _stop.error:
            _stop.error = None
        return error
    if name == StorageError.__name__:
        return StorageError(status.message)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(status.message)
        except TypeError:  # e.g. UnicodeDecodeError wants more arguments
            pass
    return RuntimeError(f"{name}: {status.message}")
