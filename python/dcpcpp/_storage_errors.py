"""Errors of third parties' file systems as ours, with what was done to which path."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dcpcpp.errors import CheckpointError, StorageError

_Method = TypeVar("_Method", bound=Callable[..., Any])


@contextlib.contextmanager
def as_storage_error(operation: str, path: object) -> Iterator[None]:
    """Raises as a StorageError what is neither an OSError nor ours, e.g. of botocore.

    An OSError that names no file, as those of streams do, gets `path`.
    """
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise
    except (CheckpointError, NotImplementedError):
        raise
    except Exception as error:
        message = f"{operation} {path}: {type(error).__name__}: {error}"
        raise StorageError(message, str(path)) from error


def with_storage_errors(method: _Method) -> _Method:
    """For a method whose path is its first argument, or else `self._path`."""

    @functools.wraps(method)
    def call(self: Any, *args: Any) -> Any:
        path = args[0] if args and isinstance(args[0], str) else self._path
        with as_storage_error(method.__name__, path):
            return method(self, *args)

    return call  # type: ignore[return-value]  # the same signature
